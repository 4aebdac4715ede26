package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const root = "../.."

// load reads the findings and the tests of this repository.
func load(t *testing.T) ([]finding, map[string][]place) {
	t.Helper()
	all, err := findings(root)
	if err != nil {
		t.Fatal(err)
	}
	known, err := places(root)
	if err != nil {
		t.Fatal(err)
	}
	return all, known
}

// Every test that a document names exists, and a finding without a test says what shows
// its state instead.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	all, known := load(t)
	if len(all) < 60 {
		t.Errorf("got %d findings, want all of them", len(all))
	}
	for _, f := range all {
		if len(f.tests) == 0 && f.other == "" {
			t.Errorf("%s: nothing shows its state", f.name)
		}
		for _, test := range f.tests {
			if len(known[test]) == 0 {
				t.Errorf("%s names %s, which does not exist; name what replaced it", f.name, test)
			}
		}
	}
}

// The report has the findings and tests of the documents.
func TestReportIsCurrent(t *testing.T) {
	t.Parallel()
	all, known := load(t)
	data, err := os.ReadFile(filepath.Join(root, "docs/findings.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want := report(all, known, latest(string(data))); string(data) != want {
		t.Errorf("docs/findings.md has other findings or tests than the documents; run: make findings")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	const table = "text\n| finding | what it is | state | test |\n| --- | --- | --- | --- |\n| H1 | a | fixed | `TestA` (`internal/a`), `FuzzB` (e2e) |\n| H2 | b | argued | none |\n\n| H3 | no row | of | this |\n"
	got, err := parse(table)
	if err != nil || len(got) != 2 || got[0].name != "H1" || !slices.Equal(got[0].tests, []string{"TestA", "FuzzB"}) || got[1].other != "none" {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, wrong := range []string{"text", "| finding | what it is | state | test |\n| --- | --- | --- | --- |\n| H1 | a | b |\n"} {
		if got, err := parse(wrong); err == nil {
			t.Errorf("%q: got %+v, want an error", wrong, got)
		}
	}
}

// Outcomes live through a report that is written again.
func TestOutcomesAreKept(t *testing.T) {
	t.Parallel()
	all := []finding{{name: "H1", tests: []string{"TestA", "TestB"}}, {name: "case 2", other: "golden files"}}
	known := map[string][]place{"TestA": {{"internal/a", ""}, {"test/e2e", "e2e"}}, "TestB": {{"internal/b", ""}}}
	outcomes := map[key]string{{"TestA", place{"test/e2e", "e2e"}}: "passed 2026-11-27", {"TestB", place{"internal/b", ""}}: "FAILED 2026-11-27"}
	first := report(all, known, outcomes)
	if second := report(all, known, latest(first)); second != first {
		t.Errorf("got\n%s\nwant\n%s", second, first)
	}
	got := latest(first)
	if got[key{"TestA", place{"internal/a", ""}}] != notRun || got[key{"TestB", place{"internal/b", ""}}] != "FAILED 2026-11-27" || len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

func TestReadLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	text := "=== RUN   TestA\n--- PASS: TestA (1.00s)\n    --- FAIL: TestA/sub (0.00s)\n--- FAIL: TestB (2.00s)\n--- SKIP: TestC (0.00s)\n--- PASS: TestUnit (0.00s)\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e2e := place{"test/e2e", "e2e"}
	got, err := readLog(file, map[string][]place{"TestA": {e2e}, "TestB": {e2e}, "TestC": {e2e}, "TestUnit": {{"internal/a", ""}}})
	if err != nil || len(got) != 3 || got[key{"TestA", e2e}] != passed || got[key{"TestB", e2e}] != failed || got[key{"TestC", e2e}] != skipped {
		t.Errorf("got %v, %v", got, err)
	}
}

// A package is run, and its outcomes are read.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":      "module x.test/x\n\ngo 1.26\n",
		"a/a_test.go": "package a\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) {}\n\nfunc TestB(t *testing.T) { t.Error(\"b\") }\n\nfunc TestC(t *testing.T) { t.Skip() }\n\nfunc TestD(t *testing.T) {}\n",
		"b/b_test.go": "package b\n\nfunc TestA(\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := place{dir: "a"}
	got, err := run(t.Context(), dir, a, []string{"TestA", "TestB", "TestC"}, os.Stderr)
	if err != nil || len(got) != 3 || got[key{"TestA", a}] != passed || got[key{"TestB", a}] != failed || got[key{"TestC", a}] != skipped {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := run(t.Context(), dir, place{dir: "b"}, []string{"TestA"}, os.Stderr); err == nil {
		t.Errorf("got %v, want an error for a package that does not compile", got)
	}
}
