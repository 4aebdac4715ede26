package docs

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var (
	advisoryID = regexp.MustCompile(`^(CVE-\d{4}-\d{4,}|GO-\d{4}-\d{4,}|GHSA(-[23456789cfghjmpqrvwx]{4}){3})$`)
	isoDate    = regexp.MustCompile(`^20\d\d-[01]\d(-[0-3]\d)?$`)
	quoted     = regexp.MustCompile("`([^`]+)`")
)

// The document has a row for every pin, with the versions of the tree, and says of no
// advisory that it is fixed where a pin is older.
func TestEveryPinHasItsAdvisories(t *testing.T) {
	t.Parallel()
	all, needed, err := readPins(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path.Join(root, "docs/advisories.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range advisoryProblems(string(text), all, needed) {
		t.Error(p)
	}
}

func TestAdvisoryProblemsAreFound(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{
		"go.mod":                          {Data: []byte("module pai\n\ngo 1.26.0\n\nrequire example.com/direct v1.2.3\n\nrequire (\n\texample.com/lib v0.5.0 // indirect\n)\n")},
		"components/engine/v2.0.1/go.mod": {Data: []byte("module engine\n\ngo 1.26.8\n\nrequire (\n\texample.com/engine v2.0.0 // indirect\n\texample.com/lib v0.6.0 // indirect\n)\n\nreplace example.com/engine => example.com/engine v2.0.1\n")},
		"components/engine/v2.0.1/component.yaml": {Data: []byte("module: example.com/engine\n")},
	}
	all, needed, err := readPins(tree)
	if err != nil {
		t.Fatal(err)
	}
	good := "## Pins\n\n" +
		"| `go` | `v1.26.8` | compiles | none found |\n" +
		"| `example.com/engine` | `v2.0.1` engine | root | 1 fixed |\n" +
		"| `example.com/lib` | `v0.5.0` pai; `v0.6.0` engine | reads | 1 open |\n\n" +
		"## Advisories\n\n" +
		"| CVE-2026-1234 | `example.com/engine` | 2026-01-02 | bad | `v1.9.9`, `v2.0.1` | fixed |\n" +
		"| GO-2026-1234 | `example.com/lib` | 2026-01 | bad | `v0.6.0` | open: take it |\n\n" +
		"## Left out\n\n" +
		"| `example.com/direct` | prints |\n"
	if got := advisoryProblems(good, all, needed); len(got) > 0 {
		t.Fatalf("got %q, want no problems", got)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"pin without a row", "| `example.com/engine` | `v2.0.1` engine | root | 1 fixed |\n", "", "example.com/engine has no row"},
		{"import without a row", "| `example.com/direct` | prints |\n", "", "example.com/direct has no row"},
		{"older version in a row", "`v2.0.1` engine", "`v2.0.0` engine", "`v2.0.0` engine, want `v2.0.1` engine"},
		{"one of two versions in a row", "`v0.5.0` pai; ", "", "want `v0.5.0` pai; `v0.6.0` engine"},
		{"old Go", "`v1.26.8`", "`v1.26.0`", "want `v1.26.8`"},
		{"row of a module that the tree lacks", "`example.com/direct`", "`example.com/gone`", "example.com/gone is not in the tree"},
		{"open advisory called fixed", "open: take it", "fixed", "a pin is older than its fix"},
		{"fixed advisory called open", "`v2.0.1` | fixed", "`v2.0.1` | open: wait", "every pin has the fix"},
		{"state without a reason", "open: take it", "open", "needs a reason"},
		{"advisory that is not counted", "1 open |", "none found |", `"none found", want "1 open"`},
		{"invented form of an ID", "CVE-2026-1234", "CVE-TODO", "CVE-TODO is no ID"},
		{"no date", "2026-01-02", "soon", "soon is no date"},
		{"module of an advisory without a row", "GO-2026-1234 | `example.com/lib`", "GO-2026-1234 | `example.com/other`", "example.com/other has no row"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(advisoryProblems(strings.Replace(good, c.old, c.new, 1), all, needed), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// advisoryProblems compares docs/advisories.md with the pins of the tree.
func advisoryProblems(text string, all pins, needed []string) (problems []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	rows, leftOut := rowsByModule(text, "Pins"), rowsByModule(text, "Left out")
	for _, module := range needed {
		if rows[module] == nil && leftOut[module] == nil {
			report("%s has no row in docs/advisories.md: search for its advisories, and add them", module)
		}
	}
	for module := range leftOut {
		if all[module] == nil {
			report("%s is not in the tree", module)
		}
	}
	counts := map[string]map[string]int{}
	for _, row := range tableRows(text, "Advisories") {
		module, state, reason := unquote(row[1]), row[5], ""
		if i := strings.Index(state, ": "); i > 0 {
			state, reason = state[:i], state[i+2:]
		}
		if counts[module] == nil {
			counts[module] = map[string]int{}
		}
		counts[module][state]++
		for _, id := range strings.Split(row[0], ", ") {
			if !advisoryID.MatchString(id) {
				report("%s is no ID of an advisory", id)
			}
		}
		if !isoDate.MatchString(row[2]) {
			report("%s: %s is no date", row[0], row[2])
		}
		var fixes []string
		for _, m := range quoted.FindAllStringSubmatch(row[4], -1) {
			fixes = append(fixes, m[1])
		}
		fixed := len(fixes) > 0 && all.allFixed(module, fixes)
		switch {
		case rows[module] == nil:
			report("%s: %s has no row among the pins", row[0], module)
		case !slices.Contains(states, state):
			report("%s: state %q, want one of %q", row[0], state, states)
		case state == "fixed" && !fixed:
			report("%s: a pin is older than its fix: %s, fixed in %s", row[0], all.cell(module), row[4])
		case state != "fixed" && fixed:
			report("%s: every pin has the fix: %s, fixed in %s", row[0], all.cell(module), row[4])
		case state != "fixed" && reason == "":
			report("%s: %s needs a reason", row[0], state)
		}
	}
	for module, row := range rows {
		if all[module] == nil {
			report("%s is not in the tree", module)
		} else if want := all.cell(module); row[1] != want {
			report("%s: pinned %s, want %s", module, row[1], want)
		}
		if want := summary(counts[module]); row[3] != want {
			report("%s: advisories %q, want %q", module, row[3], want)
		}
	}
	slices.Sort(problems)
	return problems
}

var states = []string{"open", "not affected", "fixed"}

// summary says how many advisories have which state.
func summary(counts map[string]int) string {
	var parts []string
	for _, state := range states {
		if counts[state] > 0 {
			parts = append(parts, fmt.Sprint(counts[state], " ", state))
		}
	}
	if parts == nil {
		return "none found"
	}
	return strings.Join(parts, ", ")
}

// tableRows are the rows below a heading whose first cell is no title and no line.
func tableRows(text, heading string) (rows [][]string) {
	_, section, _ := strings.Cut("\n"+text, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.SplitSeq(section, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if first := cells[0]; first != "module" && first != "advisory" && first != "control" {
			rows = append(rows, cells)
		}
	}
	return rows
}

func rowsByModule(text, heading string) map[string][]string {
	rows := map[string][]string{}
	for _, row := range tableRows(text, heading) {
		rows[unquote(row[0])] = row
	}
	return rows
}

func unquote(cell string) string { return strings.Trim(cell, "`") }
