package cis

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
)

// controls are those of cfg/cis-1.12 of kube-bench.
func controls() (all []string) {
	for section, last := range map[string]int{"1.1": 21, "1.2": 30, "1.3": 7, "1.4": 2, "2": 7, "3.1": 3, "3.2": 2, "4.1": 10, "4.2": 14, "4.3": 1,
		"5.1": 13, "5.2": 12, "5.3": 2, "5.4": 2, "5.5": 1, "5.6": 4} {
		for n := 1; n <= last; n++ {
			all = append(all, fmt.Sprint(section, ".", n))
		}
	}
	return all
}

func table(t *testing.T) []Row {
	t.Helper()
	data, err := os.ReadFile("../../docs/cis.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := Rows(string(data))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestEveryControlHasARow(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for _, row := range table(t) {
		for _, id := range strings.Split(row.Controls, ", ") {
			count[id]++
		}
	}
	for _, id := range controls() {
		if count[id] != 1 {
			t.Errorf("control %s has %d rows, want 1", id, count[id])
		}
		delete(count, id)
	}
	for id := range count {
		t.Errorf("control %s is not in the benchmark", id)
	}
}

// The tests that the table names exist.
func TestNamedTestsExist(t *testing.T) {
	t.Parallel()
	tree, sources := os.DirFS("../.."), ""
	for _, dir := range []string{"internal", "test"} {
		err := fs.WalkDir(tree, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
				return err
			}
			data, err := fs.ReadFile(tree, name)
			sources += string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range table(t) {
		for _, e := range row.Evidence {
			if e.Kind == Test && !strings.Contains(sources, "\nfunc "+e.Subject+"(") {
				t.Errorf("%s: test %s not found", row.Controls, e.Subject)
			}
		}
	}
}

func TestRowsRefuseBareClaims(t *testing.T) {
	t.Parallel()
	for _, row := range []string{
		"| 1.1.1 | modes | yes |  |",
		"| 1.1.1 | modes | argued | `etcd-a: mode 0700` |",
		"| 1.1.1 | modes | open | `machine /etc/x 600 root:root` |",
		"| 1.1.1 | modes | no | later |",
		"| 1.1.1 | modes | yes |",
	} {
		if rows, err := Rows(row); err == nil {
			t.Errorf("%s: got %+v, want an error", row, rows)
		}
	}
}

func TestProblemsOfAMachine(t *testing.T) {
	t.Parallel()
	rows, err := Rows("| 1.1.21 | keys | yes | `machine /pki/*.key 600 root:root` `machine /etc/b.conf 644 root:root` |")
	if err != nil {
		t.Fatal(err)
	}
	if script := Script(rows); !strings.Contains(script, "for f in /pki/*.key;") || !strings.Contains(script, "/etc/b.conf") {
		t.Errorf("got the script\n%s", script)
	}
	output := "600 root:root /pki/a.key\n400 root:root /pki/b.key\n640 root:root /pki/c.key\n600 pai:root /pki/d.key\nmissing /etc/b.conf\n"
	got := Problems(rows, output, func(string) bool { return false })
	want := []string{"/pki/c.key has 640 root:root, want 600 root:root", "/pki/d.key has 600 pai:root, want 600 root:root", "/etc/b.conf is missing"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Problems(rows, "missing /etc/b.conf\n", func(path string) bool { return path == "/etc/b.conf" }); len(got) > 0 {
		t.Errorf("got %q, want none", got)
	}
}
