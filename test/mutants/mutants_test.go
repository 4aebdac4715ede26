package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestListIsCurrent applies every fault of the list without running tests:
// each text is there exactly once.
func TestListIsCurrent(t *testing.T) {
	mutants, err := parse(lists)
	if err != nil {
		t.Fatal(err)
	}
	if len(mutants) < 10 {
		t.Errorf("only %d faults", len(mutants))
	}
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("../..", m.File))
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if _, err := m.mutate(string(source)); err != nil {
			t.Error(err)
		}
	}
}

// TestRunner has the runner try three faults of a module of a few lines.
func TestRunner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":      "module example.com/sum\n\ngo 1.26\n",
		"sum.go":      "package sum\n\nfunc Sum(a, b int) int { return a + b }\n\nfunc Unused() int { return 1 }\n",
		"sum_test.go": "package sum\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tt.Run(\"small\", func(t *testing.T) {\n\t\tif Sum(1, 2) != 3 {\n\t\t\tt.Error(\"wrong\")\n\t\t}\n\t})\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		find, replace string
		want          kind
		failed        []string
	}{
		{"a + b", "a - b", killed, []string{"TestSum/small"}},
		{"return 1", "return 2", survived, nil},
		{"return 1", "return", broken, nil},
	} {
		m := mutant{Name: "test", File: "sum.go", Find: tc.find, Replace: tc.replace, Package: "./..."}
		o, err := m.try(t.Context(), dir)
		if err != nil || o.kind != tc.want || !slices.Equal(o.failed, tc.failed) {
			t.Errorf("%s: %v %v, error %v\n%s", tc.replace, o.kind, o.failed, err, o.output)
		}
	}
	if o := goTest(t.Context(), dir, mutant{Package: "./..."}); o.kind != survived {
		t.Errorf("a fault was left in: %s", o.output)
	}
	if _, err := (mutant{Name: "x", File: "sum.go", Find: "return"}).try(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "2 times") {
		t.Errorf("a text that occurs twice: %v", err)
	}
}

func TestVerdict(t *testing.T) {
	good := result{mutant{Name: "a", Fault: "x"}, outcome{kind: killed, failed: []string{"T"}}}
	bad := result{mutant{Name: "b", Fault: "y"}, outcome{kind: survived}}
	if err := verdict([]result{good}); err != nil {
		t.Error(err)
	}
	if err := verdict([]result{good, bad}); err == nil || !strings.Contains(err.Error(), "b") {
		t.Errorf("%v", err)
	}
	if table := markdown(rowsOf([]result{good, bad})); !strings.Contains(table, "| x (`a`)") || !strings.Contains(table, "**noticed by no test**") {
		t.Error(table)
	}
}

// A run that was killed continues with what it had noticed; what it had not, and a
// line that was cut off, is tried again.
func TestStoppedRunContinues(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k, err := openKnown(dir, "tree")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []result{
		{mutant{Name: "a"}, outcome{kind: killed, failed: []string{"TestA", "TestB"}}},
		{mutant{Name: "b"}, outcome{kind: survived}},
	} {
		if err := k.add(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.file.WriteString(`{"fault":"c","te`); err != nil {
		t.Fatal(err)
	}
	if err := k.close(); err != nil {
		t.Fatal(err)
	}
	if k, err = openKnown(dir, "tree"); err != nil {
		t.Fatal(err)
	}
	if err := k.add(result{mutant{Name: "d"}, outcome{kind: killed, failed: []string{"TestD"}}}); err != nil {
		t.Fatal(err)
	}
	if err := k.close(); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"a": {"TestA", "TestB"}, "d": {"TestD"}}
	if k, err = openKnown(dir, "tree"); err != nil || !reflect.DeepEqual(k.noticed, want) {
		t.Errorf("got %v, %v, want %v", k.noticed, err, want)
	}
	defer k.close()
	other, err := openKnown(dir, "another")
	if err != nil || len(other.noticed) > 0 {
		t.Errorf("got %v, %v for another tree", other.noticed, err)
	}
	other.close()
}

func TestTreeDigest(t *testing.T) {
	t.Parallel()
	digest := func(files map[string]string) string {
		dir := t.TempDir()
		for name, content := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		d, err := treeDigest(dir)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	was := digest(map[string]string{"a.go": "x", resultsFile: "old"})
	if got := digest(map[string]string{"a.go": "x", resultsFile: "new"}); got != was {
		t.Error("the results of a run change the digest")
	}
	for _, files := range []map[string]string{{"a.go": "y"}, {"b.go": "x"}, {"a.go": "x", "b.go": ""}} {
		if digest(files) == was {
			t.Errorf("%v has the digest of another tree", files)
		}
	}
}

// The table keeps the rows of faults that were not tried, in the order of the lists, and
// loses those that no longer exist.
func TestTableKeepsEarlierOutcomes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mutants.md")
	a, b, c := mutant{Name: "a", Fault: "first", File: "a.go"}, mutant{Name: "b", Fault: "second", File: "b.go"}, mutant{Name: "c", Fault: "third", File: "c.go"}
	noticed := func(m mutant, test string) result { return result{m, outcome{kind: killed, failed: []string{test}}} }
	if err := saveTable(file, []mutant{b, c}, []result{noticed(b, "TestB"), noticed(c, "TestC")}); err != nil {
		t.Fatal(err)
	}
	if err := saveTable(file, []mutant{a, b}, []result{{a, outcome{kind: survived}}}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := page(header + "| first (`a`) | `a.go` | **noticed by no test** |\n| second (`b`) | `b.go` | `TestB` |\n")
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := saveTable(file, []mutant{c}, nil); err != nil {
		t.Fatal(err)
	}
	if got, err = os.ReadFile(file); err != nil || !strings.Contains(string(got), "| third (`c`) | `c.go` | not yet run |") {
		t.Errorf("got %v\n%s", err, got)
	}
}
