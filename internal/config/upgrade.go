package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"pai.dev/pai/internal/pai"
)

// MigrationTarget is the schema and the versions that an upgrade of a
// configuration sets. Nothing is ever lowered.
type MigrationTarget struct {
	Schema int      // zero is the newest
	Pair   pai.Pair // the versions to name; an empty one stays
	// TrustedKey is added to a configuration that trusts no bundle key yet.
	TrustedKey string
}

// Upgraded is an upgraded configuration, before it is written.
type Upgraded struct {
	Dir   string
	From  int // the oldest schema of any of its files
	To    int
	Edits []Edit

	before  map[string][]byte // every file that is replaced or removed
	content map[string][]byte // the files after the upgrade
	changed map[string][]byte // those of content that are written
}

// Upgrade migrates a configuration, valid or not, to a newer schema. It does
// not write it yet.
func Upgrade(dir string, target MigrationTarget) (*Upgraded, error) {
	if !anyFile(dir) {
		return nil, noConfiguration(dir)
	}
	content, problems := readFiles(dir)
	problems = slices.DeleteFunc(problems, func(p Problem) bool { return p.Message == isMissing })
	for name, data := range content {
		if data == nil { // it has no effect, but a copy is kept
			var err error
			if content[name], err = readFile(filepath.Join(dir, name)); err != nil {
				problems = append(problems, fileProblem(filepath.Join(dir, name), err.Error()))
			}
		}
	}
	if len(problems) > 0 {
		return nil, unreadable(dir, problems)
	}
	return upgrade(dir, content, target)
}

func unreadable(dir string, problems Problems) error {
	return &pai.Error{
		Code: pai.CodeInvalid, Message: "configuration " + dir + " cannot be read; nothing was changed",
		Next: "fix these problems first", Err: listed{problems},
	}
}

// upgrade is Upgrade on bytes.
func upgrade(dir string, content map[string][]byte, target MigrationTarget) (*Upgraded, error) {
	f := parseFiles(content)
	path := func(name string) string { return filepath.Join(dir, f.fileName(name)) }
	var problems Problems
	for _, name := range files {
		problems = append(problems, f.problems[name].In(path(name))...)
	}
	if len(problems) > 0 {
		return nil, unreadable(dir, problems)
	}
	if target.Schema == 0 {
		target.Schema = Schema
	}
	from, to := f.lowest(), max(target.Schema, f.schema)
	e := newEditor(f)
	e.migrate(to)
	e.nameVersions(target)
	e.nameSchema(to)

	u := &Upgraded{Dir: dir, From: from, To: to, before: map[string][]byte{}, content: map[string][]byte{}, changed: map[string][]byte{}}
	for i, name := range files {
		data, exists := f.data[name]
		if !exists {
			continue
		}
		after := data
		if len(e.treeEdits[name]) > 0 {
			var err error
			if after, err = editText(data, e.treeEdits[name], e.trees[name]); err != nil {
				return nil, fmt.Errorf("upgrade %s: %w", path(name), err)
			}
		}
		oldName, newName := f.fileName(name), FilesOf(to)[i]
		// The line that names the schema for editors.
		after = bytes.Replace(after, []byte(schemaDir+"/"+schemaName(oldName)), []byte(schemaDir+"/"+schemaName(newName)), 1)
		u.content[newName] = after
		if newName != oldName || !bytes.Equal(after, data) {
			u.before[oldName], u.changed[newName] = data, after
		}
	}
	if to >= 2 {
		if f.schema == 1 {
			u.Edits = append(u.Edits, Edit{Kind: Renamed, File: filepath.Join(dir, ClusterFile), Line: 1, Column: 1, From: ClusterFile, To: LayoutFile})
		}
		for _, name := range f.ignoredFiles {
			u.before[name] = content[name]
			u.Edits = append(u.Edits, Edit{Kind: Dropped, File: filepath.Join(dir, name), Line: 1, Column: 1, From: name, Why: "it has no effect in this release"})
		}
	}
	for _, edit := range e.edits {
		edit.File = path(edit.File)
		u.Edits = append(u.Edits, edit)
	}
	return u, nil
}

// Check checks the configuration as it would be written.
func (u *Upgraded) Check(known ...Release) (*Config, Report) {
	c, report := check(u.Dir, u.content, known...)
	for _, name := range files {
		_, exists := u.content[name]
		if _, older := u.content[ClusterFile]; !exists && (name != LayoutFile || !older) {
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

// Write keeps the previous files in a directory beside that of the
// configuration, whose name it returns, and then puts the new ones in place. If
// it is killed at any moment, the directory has the same meaning as before and
// after, and the same command completes it: every file has one schema or the
// other.
func (u *Upgraded) Write() (previous string, err error) {
	if !u.Differs() {
		return "", nil
	}
	previous, err = keepPrevious(u.Dir, u.before)
	if err != nil {
		return "", err
	}
	for _, step := range u.steps() {
		if err := step(); err != nil {
			return previous, fmt.Errorf("upgrade the configuration: %w", err)
		}
	}
	if exists(u.Dir, schemaDir) {
		return previous, writeSchemas(u.Dir, u.To)
	}
	return previous, nil
}

// steps are the changes of the directory. Each is atomic.
func (u *Upgraded) steps() []func() error {
	var steps []func() error
	for _, name := range FilesOf(u.To) {
		if data, changed := u.changed[name]; changed {
			steps = append(steps, func() error { return writeFiles(u.Dir, map[string][]byte{name: data}) })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(u.before)) {
		if _, stays := u.content[name]; !stays {
			steps = append(steps, func() error {
				if err := os.Remove(filepath.Join(u.Dir, name)); !errors.Is(err, os.ErrNotExist) {
					return err
				}
				return nil
			})
		}
	}
	return steps
}
