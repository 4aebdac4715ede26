package config

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
)

// Report is the result of a check: problems, which must be fixed, and notes,
// which need not.
type Report struct {
	Problems Problems `json:"problems"`
	Notes    Problems `json:"notes"`
}

// Load reads the configuration in a directory, of any schema, and fills in every
// default. If anything is wrong with it the error is a pai.Error that wraps all
// Problems. Without any of the files the error is fs.ErrNotExist.
func Load(dir string) (*Config, error) {
	if !anyFile(dir) {
		return nil, noConfiguration(dir)
	}
	c, report := Check(dir)
	if len(report.Problems) > 0 {
		return nil, &pai.Error{
			Code:    pai.CodeInvalid,
			Message: fmt.Sprintf("configuration %s has %s", dir, count(len(report.Problems), "mistake")),
			Next:    "fix the mistakes; to list the remaining ones, run: paictl config check -p " + dir,
			Err:     listed{report.Problems},
		}
	}
	return c, nil
}

func noConfiguration(dir string) error {
	return pai.Errorf(pai.CodeNotFound, "name the directory of a configuration with -p DIR",
		"configuration not found in %s: %w", dir, fs.ErrNotExist)
}

func anyFile(dir string) bool {
	return slices.ContainsFunc(append(files[:], ClusterFile), func(name string) bool { return exists(dir, name) })
}

// Files returns the files of a configuration that have an effect, by name, as
// they are in its directory.
func Files(dir string) (map[string][]byte, error) {
	if !anyFile(dir) {
		return nil, noConfiguration(dir)
	}
	content, problems := readFiles(dir)
	if len(problems) > 0 {
		return nil, unreadable(dir, problems)
	}
	maps.DeleteFunc(content, func(_ string, data []byte) bool { return data == nil })
	return content, nil
}

// Check reads the configuration in a directory and reports everything about it.
// The configuration is nil if there are problems.
func Check(dir string, known ...Release) (*Config, Report) {
	content, unread := readFiles(dir)
	c, report := check(dir, content, known...)
	report.Problems = byFile(append(unread, report.Problems...))
	if len(report.Problems) > 0 {
		return nil, report
	}
	return c, report
}

// FromFiles is Check on files that are not in a directory, such as a stored
// revision; name stands for their directory in messages.
func FromFiles(name string, content map[string][]byte, known ...Release) (*Config, Report) {
	return check(filepath.Clean(name), maps.Clone(content), known...)
}

// check is Check on bytes. Files that content lacks are left out of it.
func check(dir string, content map[string][]byte, known ...Release) (*Config, Report) {
	f := parseFiles(content)
	trees := f.check()
	c := f.decode(dir, trees)
	if len(trees) == len(files) {
		checkRules(c, trees, known)
	}
	var report Report
	for _, name := range files {
		path := filepath.Join(dir, f.fileName(name))
		report.Problems = append(report.Problems, f.problems[name].In(path)...)
		if t := trees[name]; t != nil {
			report.Problems = append(report.Problems, t.Problems().In(path)...)
			report.Notes = append(report.Notes, t.Notes().In(path)...)
		}
	}
	for _, name := range f.ignoredFiles {
		report.Notes = append(report.Notes, fileProblem(filepath.Join(dir, name), "has no effect in this release"))
	}
	return c, Report{byFile(report.Problems), byFile(report.Notes)}
}

// check compares every file with its schema and returns the trees that values
// are read from: those of the newest schema, whose nodes still know their
// places in the files as they are.
func (f *fileSet) check() map[string]*tree {
	e := newEditor(f)
	// Old names first: their values are checked under the new ones.
	e.moveRenamedKeys()
	trees := map[string]*tree{}
	for name, root := range e.trees {
		trees[name] = checkShape(root, schemaFor(name, f.schemaOf(name)))
	}
	for _, c := range e.edits {
		trees[c.File].note(&yaml.Node{Line: c.Line, Column: c.Column}, "%s", oldNameNote(c))
	}
	e.migrate(Schema)
	for name, root := range e.trees {
		migrated := checkShape(root, schemaFor(name, Schema))
		trees[name].root, trees[name].places = root, migrated.places
	}
	return trees
}

func oldNameNote(c Edit) string {
	if c.Kind == Dropped {
		return fmt.Sprintf("%s has no effect: %s", c.From, c.Why)
	}
	return fmt.Sprintf("%s was renamed to %s; to rename it, run: paictl config upgrade", c.From, c.To)
}

// decode makes the current model of trees of the newest schema. What does not
// fit stays at its zero value: the shape check has reported it.
func (f *fileSet) decode(dir string, trees map[string]*tree) *Config {
	c := &Config{Dir: dir}
	var kubernetes kubernetesFile
	var queues hadoopQueues
	for name, into := range map[string][]any{
		LayoutFile: {&c.Layout}, KubernetesFile: {&kubernetes}, ServicesFile: {&c.Services, &queues},
	} {
		if t := trees[name]; t != nil {
			for _, v := range into {
				_ = t.root.Decode(v)
			}
		}
	}
	c.Kubernetes = kubernetes.Kubernetes
	c.addQueues(queues)
	c.Layout.SchemaVersion = f.lowest()
	c.setDefaults()
	return c
}
