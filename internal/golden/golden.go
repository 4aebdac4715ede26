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
		t.Errorf("got other content than %s; to rewrite the file, run this test with -update\n%s", file, Difference(string(want), got))
	}
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
