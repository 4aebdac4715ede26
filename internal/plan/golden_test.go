package plan

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// go test ./internal/plan -update writes the golden files anew. Read the
// difference, and commit it only if you can say what caused it.
var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what is planned now; -update writes it anew.\n%s", file, firstDifference(string(want), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return "want from there: " + strings.Join(w[min(i, len(w)):min(i+4, len(w))], "\n") +
				"\n got from there: " + strings.Join(g[min(i, len(g)):min(i+4, len(g))], "\n")
		}
	}
	return ""
}
