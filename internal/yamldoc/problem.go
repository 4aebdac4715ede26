package yamldoc

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one mistake in a document, with its place.
type Problem struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"` // from 1; 0 if the place is unknown
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path,omitempty"` // "taskRoles.worker.commands[0]"
	Message string `json:"message"`
}

func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File + ":")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	return b.String() + p.Message
}

// Problems are mistakes as one error, a line for each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// Sorted returns the problems of one document in reading order, without
// repetitions: an alias that is used twice repeats what is wrong with it.
func (p Problems) Sorted() Problems {
	sorted := slices.SortedStableFunc(slices.Values(p), func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(sorted)
}

// In returns the problems with the name of their file.
func (p Problems) In(file string) Problems {
	named := slices.Clone(p)
	for i := range named {
		named[i].File = file
	}
	return named
}

// A path or a message that quotes the document is cut to this many characters.
const maxText = 1000

// ProblemAt is a problem at a node; a nil node has no place.
func ProblemAt(n *yaml.Node, path, format string, args ...any) Problem {
	p := Problem{Path: shortened(path, maxText), Message: shortened(fmt.Sprintf(format, args...), maxText)}
	if n != nil {
		p.Line, p.Column = max(n.Line, 1), max(n.Column, 1)
	}
	return p
}

// Report collects problems, and notes on what is accepted without effect.
type Report struct {
	problems, notes Problems
	limit, left     int // no limit if zero
}

// NewReport keeps at most limit problems and as many notes, and counts the
// other problems.
func NewReport(limit int) *Report { return &Report{limit: limit} }

// Problem adds a problem at a node.
func (r *Report) Problem(n *yaml.Node, path, format string, args ...any) {
	if r.Full() {
		r.left++
		return
	}
	r.problems = append(r.problems, ProblemAt(n, path, format, args...))
}

// Note adds a note at a node.
func (r *Report) Note(n *yaml.Node, path, format string, args ...any) {
	if r.limit == 0 || len(r.notes) < r.limit {
		r.notes = append(r.notes, ProblemAt(n, path, format, args...))
	}
}

// Full reports whether further problems are only counted.
func (r *Report) Full() bool { return r.limit > 0 && len(r.problems) >= r.limit }

// Problems are those that were added, in reading order; the last one says how
// many were left out.
func (r *Report) Problems() Problems {
	sorted := r.problems.Sorted()
	if r.left > 0 {
		sorted = append(sorted, Problem{Message: fmt.Sprintf("and %d more", r.left)})
	}
	return sorted
}

// Notes are those that were added, in reading order.
func (r *Report) Notes() Problems { return r.notes.Sorted() }
