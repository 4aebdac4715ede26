package main

import (
	"fmt"
	"strings"
)

func markdown(results []result) string {
	var b strings.Builder
	b.WriteString("| fault | in | noticed by |\n| --- | --- | --- |\n")
	for _, r := range results {
		by := "**" + string(r.kind) + "**"
		if r.kind == killed {
			by = tests(r)
		}
		fmt.Fprintf(&b, "| %s (`%s`) | `%s` | %s |\n", r.Fault, r.Name, r.File, by)
	}
	return b.String()
}

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
