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

// Load reads the configuration in a folder and fills in every default. When
// anything is wrong with it the error is a pai.Error with Problems inside,
// which names all of it at once. Where none of the files is there the error
// is fs.ErrNotExist.
func Load(dir string) (*Config, error) {
	if !anyFile(dir) {
		return nil, pai.Errorf(pai.CodeNotFound, "name the folder of a configuration with -p DIR",
			"there is no configuration in %s: %w", dir, fs.ErrNotExist)
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

func anyFile(dir string) bool {
	for _, name := range files {
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
func Check(dir string) (*Config, Report) {
	content := map[string][]byte{}
	var report Report
	for _, name := range files {
		data, err := readFile(filepath.Join(dir, name))
		if err != nil {
			report.Problems = append(report.Problems, Problem{filepath.Join(dir, name), 1, 1, missingOr(dir, name, err)})
			continue
		}
		content[name] = data
	}
	c, rest := check(dir, content)
	report.Problems = append(report.Problems, rest.Problems...).sorted()
	report.Notes = rest.Notes
	if len(report.Problems) > 0 {
		return nil, report
	}
	return c, report
}

func missingOr(dir, name string, err error) string {
	if !errors.Is(err, fs.ErrNotExist) {
		return err.Error()
	}
	if _, err := os.Stat(filepath.Join(dir, "cluster-configuration.yaml")); err == nil && name == LayoutFile {
		return "is missing; cluster-configuration.yaml is of schema 1 (PAI v0.9), which this PAI does not read yet: write its machines as layout.yaml"
	}
	return "is missing"
}

// check is Check on bytes. Files that content lacks are left out of it.
func check(dir string, content map[string][]byte) (*Config, Report) {
	var report Report
	add := func(to *Problems, name string, faults []fault) {
		for _, f := range faults {
			*to = append(*to, Problem{filepath.Join(dir, name), f.line, f.column, f.message})
		}
	}
	trees := map[string]*tree{}
	for name, schema := range schemas() {
		data, there := content[name]
		if !there {
			continue
		}
		root, faults := parse(data)
		add(&report.Problems, name, faults)
		if root != nil {
			trees[name] = checkShape(root, schema)
		}
	}
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
	}
	c.setDefaults()
	if len(trees) == len(files) {
		checkRules(c, trees)
	}
	for name, t := range trees {
		add(&report.Problems, name, t.faults)
		add(&report.Notes, name, t.notes)
	}
	report.Problems, report.Notes = report.Problems.sorted(), report.Notes.sorted()
	return c, report
}
