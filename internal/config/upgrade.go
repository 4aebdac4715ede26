package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// MigrationTarget is the schema and the versions that an upgrade of a
// configuration sets. Nothing is ever lowered.
type MigrationTarget struct {
	Schema int      // zero is the newest
	Pair   pai.Pair // the versions to name; an empty one stays
	// TrustedKey is listed where a configuration trusts no bundle key yet.
	TrustedKey string
}

// Upgraded is a configuration as an upgrade makes it, before it is written.
type Upgraded struct {
	Dir     string
	From    int // the oldest schema of any of its files
	To      int
	Changes []Edit

	before  map[string][]byte // every file that is replaced or goes
	content map[string][]byte // the files afterwards
}

// Upgrade makes a configuration one of a newer schema, valid or not. Nothing
// is written yet.
func Upgrade(dir string, aim MigrationTarget) (*Upgraded, error) {
	if !anyFile(dir) {
		return nil, noConfiguration(dir)
	}
	content, missing := readFiles(dir)
	for name, data := range content {
		if data == nil { // is there, and nobody reads it, but it will be kept
			var err error
			if content[name], err = readFile(filepath.Join(dir, name)); err != nil {
				missing = append(missing, fileProblem(filepath.Join(dir, name), err.Error()))
			}
		}
	}
	missing = slices.DeleteFunc(missing, func(p Problem) bool { return p.Message == isMissing })
	if len(missing) > 0 {
		return nil, unreadable(dir, missing)
	}
	return upgrade(dir, content, aim)
}

func unreadable(dir string, problems Problems) error {
	return &pai.Error{
		Code: pai.CodeInvalid, Message: "configuration " + dir + " cannot be read; nothing was changed",
		Next: "mend these first", Err: listed{problems},
	}
}

// upgrade is Upgrade on bytes.
func upgrade(dir string, content map[string][]byte, aim MigrationTarget) (*Upgraded, error) {
	f := parseFiles(content)
	var bad Problems
	for _, name := range files {
		bad = append(bad, f.problems[name].In(filepath.Join(dir, f.fileName(name)))...)
	}
	if len(bad) > 0 {
		return nil, unreadable(dir, bad)
	}
	if aim.Schema == 0 {
		aim.Schema = Schema
	}
	to := max(aim.Schema, f.schema)
	e := newEditor(f)
	e.migrate(to)
	e.nameVersions(aim)
	e.nameSchema(to)

	u := &Upgraded{Dir: dir, From: f.lowest(), To: to, before: map[string][]byte{}, content: map[string][]byte{}}
	for _, name := range files {
		data, there := f.data[name]
		if !there {
			continue
		}
		after, err := editText(data, e.edits[name], e.trees[name])
		if len(e.edits[name]) == 0 {
			after, err = data, nil
		}
		if err != nil {
			return nil, fmt.Errorf("upgrade %s: %w", filepath.Join(dir, f.fileName(name)), err)
		}
		newName := filesOf(to)[slices.Index(files[:], name)]
		// The line that tells an editor which schema it is.
		after = bytes.Replace(after, []byte(schemaDir+"/"+schemaName(f.fileName(name))), []byte(schemaDir+"/"+schemaName(newName)), 1)
		u.content[newName] = after
		if newName != f.fileName(name) || !bytes.Equal(after, data) {
			u.before[f.fileName(name)] = data
		}
	}
	for i, c := range e.changes {
		e.changes[i].File = filepath.Join(dir, f.fileName(c.File))
	}
	if to >= 2 {
		if f.schema == 1 {
			u.Changes = append(u.Changes, Edit{Kind: Renamed, File: filepath.Join(dir, ClusterFile), Line: 1, Column: 1, From: ClusterFile, To: LayoutFile})
		}
		for _, name := range f.ignoredFiles {
			u.before[name] = content[name]
			u.Changes = append(u.Changes, Edit{Kind: Dropped, File: filepath.Join(dir, name), Line: 1, Column: 1, From: name, Why: "it has no effect in today's PAI"})
		}
	}
	u.Changes = append(u.Changes, e.changes...)
	return u, nil
}

// nameVersions sets the two keys that name versions, and the first key whose
// bundles are trusted.
func (e *editor) nameVersions(aim MigrationTarget) {
	e.nameVersion(KubernetesFile, "kubernetes", "version", aim.Pair.Kubernetes)
	e.nameVersion(ServicesFile, "cluster.common", "release", aim.Pair.Services)
	if aim.TrustedKey == "" || e.trees[ServicesFile] == nil {
		return
	}
	keys := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{newScalar(aim.TrustedKey)}}
	e.insertIn(ServicesFile, "cluster.common", "trusted-bundle-keys", keys, Edit{Kind: Defaulted, Value: aim.TrustedKey, Why: "the key of this host"})
}

func (e *editor) nameVersion(file, section, name string, to pai.Version) {
	if to == "" || e.trees[file] == nil {
		return
	}
	path := join(section, name)
	have := e.find(file, path)
	if have == nil || yamldoc.Resolve(have).ShortTag() == "!!null" {
		e.insertIn(file, section, name, newScalar(string(to)), Edit{Kind: Set})
		return
	}
	if old, err := pai.ParseVersion(plain(have)); err == nil && old.Compare(to) >= 0 || yamldoc.Resolve(have).Kind != yaml.ScalarNode {
		return
	}
	e.do(file, have, Edit{Kind: Set, To: path, Value: string(to)}, treeEdit{kind: editSet, path: path, node: newScalar(string(to))})
}

// insertIn is insert into a section that may have to be made.
func (e *editor) insertIn(file, section, name string, value *yaml.Node, c Edit) {
	c.To = join(section, name)
	if value.Kind == yaml.ScalarNode {
		c.Value = value.Value
	}
	for e.find(file, section) == nil && section != "" {
		var inner string
		section, inner = parentOf(section)
		value = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{newScalar(name), value}}
		name = inner
	}
	at := e.find(file, section)
	if at == nil {
		return
	}
	e.insert(file, section, name, value, last, c, at)
}

// nameSchema makes every file say its schema version.
func (e *editor) nameSchema(to int) {
	for _, name := range files {
		root := e.trees[name]
		if root == nil {
			continue
		}
		have := find(root, "schema-version")
		if have == nil {
			e.insert(name, "", "schema-version", newNumber(to), "", Edit{Kind: Set}, root)
			continue
		}
		if n, err := strconv.Atoi(plain(have)); err == nil && n < to {
			e.do(name, have, Edit{Kind: Set, To: "schema-version", Value: strconv.Itoa(to)}, treeEdit{kind: editSet, path: "schema-version", node: newNumber(to)})
		}
	}
}

// Check is what a check finds in the configuration as it would be written.
func (u *Upgraded) Check(known ...Release) (*Config, Report) {
	c, report := check(u.Dir, u.content, known...)
	names := slices.Sorted(maps.Keys(u.content))
	for _, name := range files {
		if !slices.Contains(names, name) && (name != LayoutFile || !slices.Contains(names, ClusterFile)) {
			report.Problems = append(report.Problems, fileProblem(filepath.Join(u.Dir, name), isMissing))
		}
	}
	report.Problems = byFile(report.Problems)
	if len(report.Problems) > 0 {
		return nil, report
	}
	return c, report
}

// Differs reports whether there is anything to write.
func (u *Upgraded) Differs() bool { return len(u.before) > 0 }

// Write keeps the former files in a folder beside the configuration's, whose
// name it returns, and then puts the new ones in place. Killed at any moment it
// leaves a folder that means the same as before and after, and that the same
// command brings to its end: every file is of one schema or of the other.
func (u *Upgraded) Write() (former string, err error) {
	if !u.Differs() {
		return "", nil
	}
	former, err = keepFormer(u.Dir, u.before)
	if err != nil {
		return "", err
	}
	for _, step := range u.steps() {
		if err := step(); err != nil {
			return former, fmt.Errorf("upgrade the configuration: %w", err)
		}
	}
	if _, err := os.Stat(filepath.Join(u.Dir, schemaDir)); err == nil {
		return former, writeSchemas(u.Dir, u.To)
	}
	return former, nil
}

// steps are the changes of the folder, each of which is whole or not at all.
func (u *Upgraded) steps() []func() error {
	var steps []func() error
	for _, name := range filesOf(u.To) {
		data, there := u.content[name]
		if _, replaced := u.before[name]; !there || !replaced && !u.renames(name) {
			continue
		}
		steps = append(steps, func() error { return replace(u.Dir, map[string][]byte{name: data}, u.modeOf) })
	}
	for _, name := range slices.Sorted(maps.Keys(u.before)) {
		if _, stays := u.content[name]; !stays {
			steps = append(steps, func() error {
				if err := os.Remove(filepath.Join(u.Dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
				return nil
			})
		}
	}
	return steps
}

// renames reports whether a file comes from one with another name.
func (u *Upgraded) renames(name string) bool {
	_, fromOlder := u.before[ClusterFile]
	return name == LayoutFile && fromOlder && u.From == 1
}

// modeOf is the mode of a file, or of the one that it comes from.
func (u *Upgraded) modeOf(name string) os.FileMode {
	if u.renames(name) {
		return modeOf(filepath.Join(u.Dir, ClusterFile))
	}
	return modeOf(filepath.Join(u.Dir, name))
}
