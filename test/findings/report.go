package main

import (
	"fmt"
	"regexp"
	"strings"
)

const intro = `# Findings and their tests

` + "`make findings`" + ` runs the tests that [security.md](security.md) and
[field-cases.md](field-cases.md) name for each finding, and writes this table. Tests with a tag
need root and the programs of a bundle: ` + "`make findings E2E=1`" + ` runs them as well, and
` + "`make findings LOG=FILE`" + ` takes their outcomes from what ` + "`make e2e`" + ` or ` + "`make test`" + ` printed. A
test that did not run keeps its latest outcome.

| finding | test | package | tag | latest outcome |
| --- | --- | --- | --- | --- |
`

// notRun is the outcome of a test that never ran.
const notRun = "not run"

var resultRow = regexp.MustCompile("(?m)^\\| [^|]+ \\| `([^`]+)` \\| `([^`]+)` \\| ([a-z0-9]*) ?\\| ([^|]+) \\|$")

// latest are the outcomes of a report.
func latest(report string) map[key]string {
	outcomes := map[key]string{}
	for _, m := range resultRow.FindAllStringSubmatch(report, -1) {
		outcomes[key{m[1], place{m[2], m[3]}}] = m[4]
	}
	return outcomes
}

// report is the document, with the latest outcome of each test.
func report(all []finding, known map[string][]place, outcomes map[key]string) string {
	var out strings.Builder
	out.WriteString(intro)
	for _, f := range all {
		if f.other != "" {
			fmt.Fprintf(&out, "| %s | %s | | | |\n", f.name, f.other)
		}
		for _, test := range f.tests {
			for _, at := range known[test] {
				outcome := outcomes[key{test, at}]
				if outcome == "" {
					outcome = notRun
				}
				fmt.Fprintf(&out, "| %s | `%s` | `%s` | %s | %s |\n", f.name, test, at.dir, at.tag, outcome)
			}
		}
	}
	return out.String()
}
