package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A mutant is one fault and the tests that should notice it.
type mutant struct {
	Name    string `yaml:"name"`
	Fault   string `yaml:"fault"` // what goes wrong, in words
	File    string `yaml:"file"`
	Find    string `yaml:"find"`
	Replace string `yaml:"replace"`
	Package string `yaml:"package"` // of the tests
	Module  string `yaml:"module"`  // directory of the module of the tests, if it is not PAI's
	Run     string `yaml:"run"`     // -run of go test; default all
}

// parse reads the files of a directory of faults, in the order of their names.
func parse(lists fs.FS) ([]mutant, error) {
	files, err := fs.Glob(lists, "faults/*.yaml")
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	seen := map[string]bool{}
	for _, name := range files {
		listed, err := parseFile(lists, name)
		if err != nil {
			return nil, err
		}
		for _, m := range listed {
			if m.Name == "" || m.Fault == "" || m.File == "" || m.Find == "" || m.Package == "" || m.Find == m.Replace || seen[m.Name] {
				return nil, fmt.Errorf("%s: fault %q is incomplete, changes nothing, or is a duplicate", name, m.Name)
			}
			seen[m.Name] = true
		}
		mutants = append(mutants, listed...)
	}
	return mutants, nil
}

func parseFile(lists fs.FS, name string) ([]mutant, error) {
	data, err := fs.ReadFile(lists, name)
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&mutants); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return mutants, nil
}

func choose(mutants []mutant, only string) ([]mutant, error) {
	if only == "" {
		return mutants, nil
	}
	var chosen []mutant
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(mutants, func(m mutant) bool { return m.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
		chosen = append(chosen, mutants[i])
	}
	return chosen, nil
}

// mutate returns the file with the fault in it.
func (m mutant) mutate(source string) (string, error) {
	if n := strings.Count(source, m.Find); n != 1 {
		return "", fmt.Errorf("%s: its text is %d times in %s, want once: update test/mutants/faults", m.Name, n, m.File)
	}
	return strings.Replace(source, m.Find, m.Replace, 1), nil
}

// try puts the fault in, runs the tests, and takes it out again.
func (m mutant) try(ctx context.Context, dir string) (outcome, error) {
	path := filepath.Join(dir, m.File)
	source, err := os.ReadFile(path)
	if err != nil {
		return outcome{}, fmt.Errorf("%s: %w", m.Name, err)
	}
	faulty, err := m.mutate(string(source))
	if err != nil {
		return outcome{}, err
	}
	if err := os.WriteFile(path, []byte(faulty), 0o644); err != nil {
		return outcome{}, fmt.Errorf("%s: %w", m.Name, err)
	}
	o := goTest(ctx, dir, m)
	if err := os.WriteFile(path, source, 0o644); err != nil {
		return outcome{}, fmt.Errorf("%s: take the fault out: %w", m.Name, err)
	}
	return o, nil
}

type kind string

const (
	killed   kind = "noticed by"
	survived kind = "noticed by no test"
	broken   kind = "does not compile"
)

type outcome struct {
	kind   kind
	failed []string // tests
	output string
}

type result struct {
	mutant
	outcome
}

// testLimit ends a test that a fault makes hang; that counts as noticed.
const testLimit = 3 * time.Minute

func (m mutant) args() []string {
	// Vetting and debug information would take longer than the tests.
	args := []string{"test", "-count=1", "-vet=off", "-ldflags=-w", "-timeout", testLimit.String()}
	if m.Run != "" {
		args = append(args, "-run", m.Run)
	}
	return append(args, m.Package)
}

var failLine = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)

func goTest(ctx context.Context, dir string, m mutant) outcome {
	cmd := exec.CommandContext(ctx, "go", m.args()...)
	cmd.Dir = filepath.Join(dir, m.Module)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	o := outcome{output: string(out)}
	var exit *exec.ExitError
	switch {
	case err == nil:
		o.kind = survived
	case !errors.As(err, &exit):
		o.kind, o.output = broken, err.Error()
	case strings.Contains(o.output, "[build failed]"), strings.Contains(o.output, "[setup failed]"):
		o.kind = broken
	default:
		o.kind = killed
		o.failed = failures(o.output)
	}
	return o
}

// failures lists the tests that failed, without the parents of failed subtests.
func failures(output string) []string {
	var names []string
	for _, f := range failLine.FindAllStringSubmatch(output, -1) {
		names = append(names, f[1])
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		return slices.ContainsFunc(names, func(o string) bool { return strings.HasPrefix(o, n+"/") })
	})
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 && strings.Contains(output, "panic: test timed out") {
		names = append(names, "the time limit")
	} else if len(names) == 0 && strings.Contains(output, "panic: ") {
		names = append(names, "a panic")
	}
	return names
}
