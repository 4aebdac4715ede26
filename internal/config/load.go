package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/pai"
)

// Report is what a check of a configuration found: problems, which must be
// mended, and notes, which need not.
type Report struct {
	Problems Problems `json:"problems"`
	Notes    Problems `json:"notes"`
}

// Load reads the configuration in a folder, of whichever schema, and fills in
// every default. When anything is wrong with it the error is a pai.Error with
// Problems inside, which names all of it at once. Where none of the files is
// there the error is fs.ErrNotExist.
func Load(dir string) (*Config, error) {
	if !anyFile(dir) {
		return nil, noConfiguration(dir)
	}
	c, report := Check(dir)
	if len(report.Problems) > 0 {
		return nil, &pai.Error{
			Code:    pai.CodeInvalid,
			Message: fmt.Sprintf("configuration %s has %s", dir, count(len(report.Problems), "mistake")),
			Next:    "mend it; `paictl config check -p " + dir + "` shows what is left",
			Err:     listed{report.Problems},
		}
	}
	return c, nil
}

func noConfiguration(dir string) error {
	return pai.Errorf(pai.CodeNotFound, "name the folder of a configuration with -p DIR",
		"there is no configuration in %s: %w", dir, fs.ErrNotExist)
}

func anyFile(dir string) bool {
	for _, name := range append(files[:], ClusterFile) {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// listed puts problems on lines of their own behind the text in front of them.
type listed struct{ Problems }

func (l listed) Error() string { return "\n" + l.Problems.Error() }
func (l listed) Unwrap() error { return l.Problems }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Check reads the configuration in a folder and reports everything about it.
// The configuration is nil when there are problems.
func Check(dir string, known ...Release) (*Config, Report) {
	content, missing := readFolder(dir)
	c, report := check(dir, content, known...)
	report.Problems = append(missing, report.Problems...).sorted()
	if len(report.Problems) > 0 {
		return nil, report
	}
	return c, report
}

// check is Check on bytes. Files that content lacks are left out of it.
func check(dir string, content map[string][]byte, known ...Release) (*Config, Report) {
	f := parseFolder(content)
	trees := f.check()
	c := f.decode(dir, trees)
	if len(trees) == len(files) {
		checkRules(c, trees, known)
	}
	var report Report
	add := func(to *Problems, name string, faults []fault) {
		for _, one := range faults {
			*to = append(*to, Problem{filepath.Join(dir, name), one.line, one.column, one.message})
		}
	}
	for _, name := range files {
		add(&report.Problems, f.fileName(name), f.faults[name])
		if t := trees[name]; t != nil {
			add(&report.Problems, f.fileName(name), t.faults)
			add(&report.Notes, f.fileName(name), t.notes)
		}
	}
	for _, name := range f.leftOver {
		add(&report.Notes, name, []fault{{1, 1, "has no effect in today's PAI"}})
	}
	report.Problems, report.Notes = report.Problems.sorted(), report.Notes.sorted()
	return c, report
}

// check holds every file against its schema and returns the trees that values
// are read from: those of the newest schema, whose nodes still know their
// places in the files as they are.
func (f *folder) check() map[string]*tree {
	e := newEditor(f)
	// Older spellings first: what they say is checked under today's names.
	e.spellings()
	shapes := map[string]*tree{}
	for name, root := range e.trees {
		shapes[name] = checkShape(root, schemaFor(name, f.schemaOf(name)))
	}
	older := e.changes
	e.migrate(Schema)
	trees := map[string]*tree{}
	for name, root := range e.trees {
		trees[name] = checkShape(root, schemaFor(name, Schema))
		trees[name].faults, trees[name].notes = shapes[name].faults, shapes[name].notes
	}
	for _, c := range older {
		trees[c.File].notes = append(trees[c.File].notes, fault{c.Line, c.Column, olderSpelling(c)})
	}
	return trees
}

func olderSpelling(c Edit) string {
	if c.Kind == Dropped {
		return fmt.Sprintf("%s has no effect: %s", c.From, c.Why)
	}
	return fmt.Sprintf("%s is called %s now; `paictl config upgrade` changes it", c.From, c.To)
}

// decode makes today's model of trees of the newest schema.
func (f *folder) decode(dir string, trees map[string]*tree) *Config {
	c := &Config{Dir: dir}
	if t := trees[LayoutFile]; t != nil {
		decode(t.root, &c.Layout)
	}
	if t := trees[KubernetesFile]; t != nil {
		file := kubernetesFile{}
		decode(t.root, &file)
		c.Kubernetes = file.Kubernetes
	}
	if t := trees[ServicesFile]; t != nil {
		decode(t.root, &c.Services)
		var queues hadoopQueues
		decode(t.root, &queues)
		c.virtualClustersOf(queues)
	}
	c.Layout.SchemaVersion = f.lowest()
	c.setDefaults()
	return c
}
