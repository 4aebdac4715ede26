// Package cis reads docs/cis.md: the controls of the CIS Kubernetes Benchmark, their
// state in PAI, and what shows it. Tests compare the evidence with what PAI renders, and
// with a machine.
package cis

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The states of a control.
const (
	Yes    = "yes"    // as the benchmark asks
	Argued = "argued" // not as it asks, for a reason
	Open   = "open"   // not yet
)

// Kind says who can check a piece of evidence.
type Kind string

// Rendered evidence is a file that PAI renders, Machine is a path of a machine, and Test
// is a test by its name.
const (
	Rendered Kind = "rendered"
	Machine  Kind = "machine"
	Test     Kind = "test"
)

// Evidence is one claim of a row: a subject (a file or a path), and what is true of it.
type Evidence struct {
	Kind           Kind
	Subject, Claim string
}

// Row is a row of the table.
type Row struct {
	Controls string // one, or several with commas between them
	Asks     string
	State    string
	Reason   string
	Evidence []Evidence
}

var (
	code     = regexp.MustCompile("`([^`]+)`")
	rendered = regexp.MustCompile(`^([a-z][a-z0-9.-]*): (.+)$`)
	onDisk   = regexp.MustCompile(`^machine (/\S+) ([0-7]{3,4} \S+:\S+)$`)
	testName = regexp.MustCompile(`^Test[A-Z]\w+$`)
)

// Rows reads the table of the document.
func Rows(text string) ([]Row, error) {
	var rows []Row
	for line := range strings.SplitSeq(text, "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") || !isControl(cells[0]) {
			continue
		}
		if len(cells) != 4 {
			return nil, fmt.Errorf("%s: %d cells, want 4", cells[0], len(cells))
		}
		row := Row{Controls: cells[0], Asks: cells[1], State: cells[2]}
		row.Reason = strings.Trim(code.ReplaceAllStringFunc(cells[3], func(quoted string) string {
			e, ok := evidence(strings.Trim(quoted, "`"))
			if !ok {
				return quoted // a word of the reason
			}
			row.Evidence = append(row.Evidence, e)
			return ""
		}), " ,;.")
		switch row.State {
		case Yes:
			if len(row.Evidence) == 0 && row.Reason == "" {
				return nil, fmt.Errorf("%s: nothing shows it", row.Controls)
			}
		case Argued, Open:
			if row.Reason == "" {
				return nil, fmt.Errorf("%s: %s without a reason", row.Controls, row.State)
			}
		default:
			return nil, fmt.Errorf("%s: state %q", row.Controls, row.State)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func evidence(text string) (Evidence, bool) {
	if m := onDisk.FindStringSubmatch(text); m != nil {
		return Evidence{Machine, m[1], m[2]}, true
	}
	if testName.MatchString(text) {
		return Evidence{Kind: Test, Subject: text}, true
	}
	if m := rendered.FindStringSubmatch(text); m != nil {
		return Evidence{Rendered, m[1], m[2]}, true
	}
	return Evidence{}, false
}

var control = regexp.MustCompile(`^\d\.\d+(\.\d+)?$`)

func isControl(cell string) bool {
	return !slices.ContainsFunc(strings.Split(cell, ", "), func(id string) bool { return !control.MatchString(id) })
}

// Script prints the mode and the owner of every path that the rows name, or that the
// machine has no such path.
func Script(rows []Row) string {
	var b strings.Builder
	for _, e := range machineEvidence(rows) {
		// A pattern of the shell can name several files.
		fmt.Fprintf(&b, "for f in %s; do stat -L -c '%%a %%U:%%G %%n' \"$f\" 2>/dev/null || echo \"missing $f\"; done\n", e.Subject)
	}
	return b.String()
}

// Problems compares the output of Script with what the rows claim. A mode with fewer
// rights than claimed is right, too. Paths that a machine lacks are no problem where
// optional reports so.
func Problems(rows []Row, output string, optional func(path string) bool) (problems []string) {
	for line := range strings.Lines(output) {
		words := strings.Fields(line)
		if len(words) == 2 && words[0] == "missing" {
			if !optional(words[1]) {
				problems = append(problems, words[1]+" is missing")
			}
			continue
		}
		if len(words) != 3 {
			problems = append(problems, fmt.Sprintf("unexpected line %q", line))
			continue
		}
		for _, e := range machineEvidence(rows) {
			mode, owner, _ := strings.Cut(e.Claim, " ")
			if !matches(e.Subject, words[2]) {
				continue
			}
			if words[1] != owner || !within(words[0], mode) {
				problems = append(problems, fmt.Sprintf("%s has %s %s, want %s", words[2], words[0], words[1], e.Claim))
			}
		}
	}
	return problems
}

func machineEvidence(rows []Row) (all []Evidence) {
	for _, row := range rows {
		for _, e := range row.Evidence {
			if e.Kind == Machine {
				all = append(all, e)
			}
		}
	}
	return all
}

// matches reports whether a path is the one of a pattern with at most one star.
func matches(pattern, path string) bool {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == path
	}
	return strings.HasPrefix(path, before) && strings.HasSuffix(path, after)
}

// within reports whether a mode gives no right that the limit does not give.
func within(mode, limit string) bool {
	m, err1 := strconv.ParseUint(mode, 8, 32)
	l, err2 := strconv.ParseUint(limit, 8, 32)
	return err1 == nil && err2 == nil && m&^l == 0
}
