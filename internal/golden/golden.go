// Package golden compares what a test produces with a file that is kept in the
// repository. The flag -update of the test rewrites the files; read the
// difference, and commit it only if you can say what caused it. To rewrite all
// files of the repository, run: make golden
package golden

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files; read the difference before you keep it")

// Updating reports whether the test was started with -update.
func Updating() bool { return *update }

// Check reports an error if got differs from the content of file. With -update
// it writes got to file instead.
func Check(t testing.TB, file, got string) {
	t.Helper()
	if *update {
		write(t, file, got)
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got other content than %s; to rewrite it, run: go test ./%s -run '^%s$' -update; then read the difference\n%s", file, packageDir(), name(t), Difference(string(want), got))
	}
}

// packageDir is the directory of the test's package in the repository, where tests run.
func packageDir() string {
	dir, err := os.Getwd()
	if err != nil {
		return "PACKAGE"
	}
	for parent := dir; parent != filepath.Dir(parent); parent = filepath.Dir(parent) {
		if _, err := os.Stat(filepath.Join(parent, "go.mod")); err != nil {
			continue
		}
		if rel, err := filepath.Rel(parent, dir); err == nil {
			return filepath.ToSlash(rel)
		}
	}
	return dir
}

// name is the name of the test function that a subtest belongs to.
func name(t testing.TB) string {
	function, _, _ := strings.Cut(t.Name(), "/")
	return function
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Difference shows the first line in which two texts differ, with a few lines
// after it; it is empty if they are equal.
func Difference(want, got string) string {
	const shown = 4
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	from := func(lines []string, i int) string {
		return strings.Join(lines[min(i, len(lines)):min(i+shown, len(lines))], "\n")
	}
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant: %s\ngot:  %s", i+1, from(w, i), from(g, i))
		}
	}
	return ""
}
