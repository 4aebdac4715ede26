package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// scanTimeout is for the largest module: govulncheck reads the source of all of
// Kubernetes.
const scanTimeout = 40 * time.Minute

// module is a Go module and what is compiled from it.
type module struct {
	dir      string
	packages []string
	tags     []string
	cgo      bool
}

// findModules lists PAI and its components; only selects those whose directory
// contains it.
func findModules(tree fs.FS, only string) ([]module, error) {
	files, err := fs.Glob(tree, "components/*/go.mod")
	if err != nil {
		return nil, err
	}
	versioned, err := fs.Glob(tree, "components/*/*/go.mod")
	if err != nil {
		return nil, err
	}
	modules := []module{{dir: ".", packages: []string{"./cmd/..."}}}
	for _, file := range append(files, versioned...) {
		m, err := readComponent(tree, path.Dir(file))
		if err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	modules = slices.DeleteFunc(modules, func(m module) bool { return !strings.Contains(m.dir, only) })
	if len(modules) == 0 {
		return nil, fmt.Errorf("no module has %q in its directory", only)
	}
	return modules, nil
}

func readComponent(tree fs.FS, dir string) (module, error) {
	m := module{dir: dir, packages: []string{"./..."}}
	data, err := fs.ReadFile(tree, dir+"/component.yaml")
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil // the programs are in the directory
	}
	if err != nil {
		return m, err
	}
	var c struct {
		Programs map[string]string `json:"programs"`
		Tags     []string          `json:"tags"`
		CGO      bool              `json:"cgo"`
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return m, fmt.Errorf("read %s/component.yaml: %w", dir, err)
	}
	m.packages, m.tags, m.cgo = slices.Sorted(maps.Values(c.Programs)), c.Tags, c.CGO
	return m, nil
}

// govulncheck returns the messages of govulncheck about a module.
func govulncheck(ctx context.Context, database string, m module) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	args := []string{"tool", "-modfile=tools/go.mod", "govulncheck", "-db", database, "-format", "json", "-C", m.dir}
	if len(m.tags) > 0 {
		args = append(args, "-tags", strings.Join(m.tags, ","))
	}
	c := exec.CommandContext(ctx, "go", append(args, m.packages...)...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if m.cgo {
		c.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("govulncheck: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// finding is a vulnerability of a module that is compiled in.
type finding struct {
	id, module, version, fixed, summary string
	aliases                             []string
	called                              bool // a program reaches it; otherwise a package or a module only has it
}

// readFindings reads the messages of govulncheck: one finding for each vulnerability
// and module, called before the rest.
func readFindings(stream []byte) ([]finding, error) {
	type entry struct {
		ID, Summary string
		Aliases     []string
	}
	entries, found := map[string]entry{}, map[string]finding{}
	for d := json.NewDecoder(bytes.NewReader(stream)); ; {
		var message struct {
			OSV     *entry
			Finding *struct {
				OSV          string
				FixedVersion string `json:"fixed_version"`
				Trace        []struct{ Module, Version, Function string }
			}
		}
		if err := d.Decode(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if message.OSV != nil {
			entries[message.OSV.ID] = *message.OSV
		}
		if f := message.Finding; f != nil && len(f.Trace) > 0 {
			at := f.Trace[0]
			key := f.OSV + " " + at.Module
			found[key] = finding{id: f.OSV, module: at.Module, version: at.Version, fixed: f.FixedVersion, called: found[key].called || at.Function != ""}
		}
	}
	all := slices.Collect(maps.Values(found))
	for i, f := range all {
		all[i].summary, all[i].aliases = entries[f.id].Summary, entries[f.id].Aliases
	}
	slices.SortFunc(all, func(a, b finding) int {
		if a.called != b.called {
			if a.called {
				return -1
			}
			return 1
		}
		return strings.Compare(a.id+a.module, b.id+b.module)
	})
	return all, nil
}

// listed reports whether the page names the vulnerability.
func (f finding) listed(page string) bool {
	words := strings.FieldsFunc(page, func(r rune) bool { return strings.ContainsRune(" ,|:;()\n`", r) })
	return slices.ContainsFunc(append(f.aliases, f.id), func(id string) bool { return slices.Contains(words, id) })
}

func (f finding) line(listed bool) string {
	how, where, fixed := "has", "not listed", "no fix"
	if f.called {
		how = "calls"
	}
	if listed {
		where = "listed"
	}
	if f.fixed != "" {
		fixed = "fixed in " + f.fixed
	}
	return fmt.Sprintf("  %-5s  %s  %s %s, %s, %s: %s", how, f.id, f.module, f.version, fixed, where, f.summary)
}
