package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

const header = "| fault | in | noticed by |\n| --- | --- | --- |\n"

func markdown(rows []string) string { return header + strings.Join(rows, "") }

func rowsOf(results []result) []string {
	var rows []string
	for _, r := range results {
		rows = append(rows, row(r.mutant, noticedBy(r)))
	}
	return rows
}

func noticedBy(r result) string {
	if r.kind == killed {
		return tests(r)
	}
	return "**" + string(r.kind) + "**"
}

func row(m mutant, by string) string {
	return fmt.Sprintf("| %s (`%s`) | `%s` | %s |\n", m.Fault, m.Name, m.File, by)
}

// saveTable writes the page with a row for each fault: of this run, else of the page as it
// was.
func saveTable(file string, all []mutant, results []result) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	by := map[string]string{}
	for _, r := range rowPattern.FindAllStringSubmatch(string(old), -1) {
		by[r[1]] = r[2]
	}
	for _, r := range results {
		by[r.Name] = noticedBy(r)
	}
	var table []string
	for _, m := range all {
		table = append(table, row(m, cmp.Or(by[m.Name], "not yet run")))
	}
	return os.WriteFile(file, []byte(page(markdown(table))), 0o644)
}

var rowPattern = regexp.MustCompile("(?m)^\\| .* \\(`([^`]+)`\\) \\| `[^`]+` \\| (.*) \\|$")

// tests names a few of the tests that failed.
func tests(r result) string {
	if len(r.failed) == 0 {
		return ""
	}
	const few = 3
	names := r.failed
	if len(names) > few {
		names = names[:few]
	}
	text := "`" + strings.Join(names, "`, `") + "`"
	if more := len(r.failed) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func page(table string) string {
	return `# Mutation tests

` + "`make mutants`" + ` puts each of these faults into a copy of the code, one at a
time, and runs the tests that must detect it. These are the latest results. The
faults are in test/mutants/faults; [testing.md](testing.md) says how to add one.

` + table
}
