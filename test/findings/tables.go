package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// documents have the tables of findings, by what a finding is called there.
var documents = []struct{ file, prefix string }{{"docs/security.md", ""}, {"docs/field-cases.md", "case "}}

// finding is a row of a table: a fault that was found, and the tests that show its state.
type finding struct {
	name  string
	tests []string
	// other is what shows the state if no test is named.
	other string
}

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+|Fuzz[A-Za-z0-9_]+)`")
	header   = regexp.MustCompile(`^\| (finding|case) \| what it is \| state \| test \|$`)
)

// findings reads the tables of a tree.
func findings(root string) ([]finding, error) {
	var all []finding
	for _, d := range documents {
		data, err := os.ReadFile(filepath.Join(root, d.file))
		if err != nil {
			return nil, err
		}
		rows, err := parse(string(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.file, err)
		}
		for _, f := range rows {
			f.name = d.prefix + f.name
			all = append(all, f)
		}
	}
	return all, nil
}

// parse reads the table of findings of a document.
func parse(text string) (rows []finding, err error) {
	inTable := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case header.MatchString(line):
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(line, "| ---"):
			cells := strings.Split(strings.Trim(line, "|"), " | ")
			if len(cells) != 4 {
				return nil, fmt.Errorf("a row has %d cells, want 4: %s", len(cells), line)
			}
			f := finding{name: strings.TrimSpace(cells[0]), other: strings.TrimSpace(cells[3])}
			for _, m := range testName.FindAllStringSubmatch(cells[3], -1) {
				f.tests = append(f.tests, m[1])
			}
			if len(f.tests) > 0 {
				f.other = ""
			}
			rows = append(rows, f)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no table with the columns finding or case, what it is, state, and test")
	}
	return rows, nil
}
