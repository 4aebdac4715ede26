package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// key is a test at its place.
type key struct {
	test string
	place
}

// The outcomes of a test. What did not run has none.
const (
	passed  = "passed"
	failed  = "FAILED"
	skipped = "skipped"
)

// run runs the tests that are in one package, and need one tag.
func run(ctx context.Context, root string, at place, tests []string, stderr io.Writer) (map[key]string, error) {
	args := []string{"test", "-json", "-count=1", "-p", "1", "-timeout", "75m", "-run", "^(" + strings.Join(tests, "|") + ")$"}
	if at.tag != "" {
		args = append(args, "-tags", at.tag)
	}
	dir, pkg := root, "./"+at.dir
	if rest, ok := strings.CutPrefix(at.dir, "components/network/"); ok { // another module
		dir, pkg = filepath.Join(root, "components/network"), "./"+rest
	}
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir, cmd.Stderr = dir, stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("test %s: %w", pkg, context.Cause(ctx))
	}
	found := map[key]string{}
	for line := range bytes.Lines(out) {
		var event struct{ Action, Test string }
		if json.Unmarshal(line, &event) != nil || event.Test == "" || strings.Contains(event.Test, "/") {
			continue
		}
		if outcome := map[string]string{"pass": passed, "fail": failed, "skip": skipped}[event.Action]; outcome != "" {
			found[key{event.Test, at}] = outcome
		}
	}
	if err != nil && !slices.Contains(slices.Collect(maps.Values(found)), failed) {
		return nil, fmt.Errorf("test %s: %w", pkg, err) // it did not compile
	}
	return found, nil
}

var ended = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): ([A-Za-z0-9_]+) `)

// readLog reads the outcomes of tests with a tag from what go test -v printed.
func readLog(file string, known map[string][]place) (map[key]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := map[key]string{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		m := ended.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		for _, at := range known[m[2]] {
			if at.tag != "" {
				found[key{m[2], at}] = map[string]string{"PASS": passed, "FAIL": failed, "SKIP": skipped}[m[1]]
			}
		}
	}
	return found, lines.Err()
}
