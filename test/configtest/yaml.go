package configtest

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// entry is a key with a scalar, a list, or keys below it.
type entry struct {
	key     string
	value   string // as it is written
	keys    []entry
	items   [][]entry // a list of mappings
	plain   []string  // a list of scalars
	dropped bool      // an upgrade drops it, with the comments in and above it
	emptied bool      // an upgrade drops it if nothing is left in it
}

// text writes entries as YAML in a form drawn at random: comments, blank
// lines, quotes, indentation, line ends.
type text struct {
	t        *rapid.T
	out      strings.Builder
	comments []string // those that an upgrade must keep
	flow     bool     // can write {a: b}
	indent   int
}

func write(t *rapid.T, root []entry) (content string, comments []string) {
	w := &text{t: t, flow: rapid.Bool().Draw(t, "flow"), indent: rapid.IntRange(2, 4).Draw(t, "indent")}
	if w.coin("heading") {
		w.line(0, w.comment(false))
		w.line(0, "")
	}
	w.mapping(0, root, false, false)
	content = w.out.String()
	if w.coin("no newline at the end") {
		content = strings.TrimSuffix(content, "\n")
	}
	if w.coin("Windows") && w.coin("really") {
		content = strings.ReplaceAll(content, "\n", "\r\n")
	}
	if w.flow {
		return content, nil // a file that is written again can lose some
	}
	return content, w.comments
}

func (w *text) coin(label string) bool { return rapid.Bool().Draw(w.t, label) }

func (w *text) line(indent int, s string) {
	if s != "" {
		w.out.WriteString(strings.Repeat(" ", indent))
	}
	w.out.WriteString(s + "\n")
}

func (w *text) comment(dropped bool) string {
	c := fmt.Sprintf("# comment %d.", len(w.comments)+w.out.Len())
	if !dropped {
		w.comments = append(w.comments, c)
	}
	return c
}

// mapping writes keys; dashed has the first behind "- ".
func (w *text) mapping(indent int, keys []entry, dashed, dropped bool) {
	for i, e := range keys {
		lead, own := indent, dropped || e.dropped
		if dashed && i == 0 {
			w.out.WriteString(strings.Repeat(" ", indent-2) + "- ")
			lead = 0
		} else if rapid.IntRange(0, 3).Draw(w.t, "around") == 0 {
			if w.coin("blank") {
				w.line(0, "")
			}
			w.line(indent, w.comment(own || e.emptied))
		}
		w.entry(lead, indent, e, own)
	}
}

func (w *text) entry(lead, indent int, e entry, dropped bool) {
	head := e.key + ":"
	switch {
	case e.items != nil:
		w.line(lead, head)
		for _, item := range e.items {
			w.mapping(indent+2+w.indent-2, item, true, dropped)
		}
	case e.plain != nil:
		if w.coin("flow list") {
			w.line(lead, head+" ["+strings.Join(e.plain, ", ")+"]")
			return
		}
		w.line(lead, head)
		for _, p := range e.plain {
			w.line(indent+w.indent, "- "+p)
		}
	case e.keys != nil && w.flow && w.coin("flow mapping"):
		w.line(lead, head+" "+flow(e.keys))
	case e.keys != nil:
		w.line(lead, head)
		w.mapping(indent+w.indent, e.keys, false, dropped)
	default:
		value := " " + e.value
		if rapid.IntRange(0, 4).Draw(w.t, "behind") == 0 {
			value += " " + w.comment(dropped)
		}
		w.line(lead, head+value)
	}
}

func flow(keys []entry) string {
	var parts []string
	for _, e := range keys {
		value := e.value
		switch {
		case e.keys != nil:
			value = flow(e.keys)
		case e.plain != nil:
			value = "[" + strings.Join(e.plain, ", ") + "]"
		}
		parts = append(parts, e.key+": "+value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// quoted writes a text with one kind of quotes, or none.
func (d *draw) quoted(s string) string {
	switch rapid.IntRange(0, 2).Draw(d.t, "quotes") {
	case 0:
		return `"` + s + `"`
	case 1:
		return "'" + s + "'"
	}
	return s
}
