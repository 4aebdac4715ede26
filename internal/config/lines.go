package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// errForm reports a text in a form that cannot be edited line by line, such as
// {a: b} over a whole file. The file is then written again from its tree.
var errForm = errors.New("the text has a form that is not edited in place")

// otherBreaks end a line for the YAML library, too (YAML 1.1, section 4.2), so that its
// numbers of lines are not those of the text.
const otherBreaks = "\r\u0085\u2028\u2029"

// document is a file as lines with its tree. Changes are collected and made
// together, so that the line numbers of the tree stay valid.
type document struct {
	lines   []string
	newline string
	end     int // of the YAML document, in lines
	root    *yaml.Node
	changes []lineChange
}

// lineChange replaces the lines [from, to) by others; lines count from 0.
type lineChange struct {
	from, to int
	by       []string
}

func newDocument(data []byte) (*document, error) {
	root, problems := parse(data)
	if root == nil {
		return nil, problems
	}
	d := &document{root: root, newline: "\n"}
	if bytes.Contains(data, []byte("\r\n")) {
		d.newline = "\r\n"
	}
	if strings.ContainsAny(strings.ReplaceAll(string(data), "\r\n", "\n"), otherBreaks) {
		return nil, errForm
	}
	d.lines = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i, l := range d.lines {
		d.lines[i] = strings.TrimSuffix(l, "\r")
	}
	if d.end = slices.Index(d.lines, "..."); d.end < 0 {
		d.end = len(d.lines)
	}
	return d, nil
}

func (d *document) change(from, to int, by []string) {
	d.changes = append(d.changes, lineChange{from, to, by})
}

func (d *document) bytes() []byte {
	// Of two insertions at one line the later one comes first, as in the tree.
	slices.Reverse(d.changes)
	slices.SortStableFunc(d.changes, func(a, b lineChange) int { return cmp.Compare(a.from, b.from) })
	var out []string
	copied := 0 // lines of the file
	for _, c := range d.changes {
		out = append(out, d.lines[copied:max(copied, c.from)]...)
		out = append(out, c.by...)
		copied = max(copied, c.from, c.to)
	}
	return []byte(strings.Join(append(out, d.lines[copied:]...), d.newline) + d.newline)
}

// block finds the lines [start, end) of a key with its value, and its column.
func (d *document) block(path string) (start, end, column int, err error) {
	return d.blockOf(splitPath(path))
}

// blockOf is block for names, which can have dots.
func (d *document) blockOf(names []string) (start, end, column int, err error) {
	n, limit := d.root, d.end
	for _, name := range names {
		if n.Style&yaml.FlowStyle != 0 {
			return 0, 0, 0, errForm
		}
		i, width := keyIndex(n, name), 2 // a key and its value
		if n.Kind == yaml.SequenceNode {
			i, err = strconv.Atoi(name)
			width = 1
		}
		if err != nil || i < 0 || i >= len(n.Content) {
			return 0, 0, 0, errForm
		}
		if i+width < len(n.Content) {
			limit = n.Content[i+width].Line - 1
		}
		if width == 2 {
			k := n.Content[i]
			start, column = k.Line-1, k.Column-1
		}
		n = n.Content[i+width-1]
	}
	if start >= limit || limit > len(d.lines) {
		return 0, 0, 0, errForm
	}
	// Blank lines, and comments no deeper than the key, do not belong to the value.
	for end = limit; end > start+1 && (isBlank(d.lines[end-1]) || isComment(d.lines[end-1]) && indentOf(d.lines[end-1]) <= column); {
		end--
	}
	return start, end, column, nil
}

func isBlank(line string) bool { return strings.TrimSpace(line) == "" }

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// aboveComment is the first line of the comment right above a line, or that
// line if the comment is the heading of the file.
func (d *document) aboveComment(line, column int) int {
	first := line
	for first > 0 && isComment(d.lines[first-1]) && indentOf(d.lines[first-1]) == column {
		first--
	}
	if first == 0 {
		return line
	}
	return first
}

// cut removes a key with its value and the comment right above it, and returns
// these lines without their indentation.
func (d *document) cut(path string) ([]string, error) {
	start, end, column, err := d.block(path)
	if err != nil {
		return nil, err
	}
	if indentOf(d.lines[start]) != column {
		return nil, errForm // the line does not start with the key
	}
	first := d.aboveComment(start, column)
	var lines []string
	for _, l := range d.lines[first:end] {
		if !isBlank(l[:min(column, len(l))]) {
			return nil, errForm
		}
		lines = append(lines, l[min(column, len(l)):])
	}
	d.remove(first, end)
	return lines, nil
}

// remove removes the lines [first, end). Of the blank lines around them, one gap is enough.
func (d *document) remove(first, end int) {
	gap := end
	for first > 0 && isBlank(d.lines[first-1]) && gap < len(d.lines) && isBlank(d.lines[gap]) {
		gap++
	}
	d.change(end, gap, nil)
	d.change(first, end, nil)
}

func (d *document) move(e treeEdit) error {
	_, name := parentOf(e.path)
	toParent, toName := parentOf(e.to)
	lines, err := d.cut(e.path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, name) })
	if i < 0 {
		return errForm
	}
	lines[i] = toName + strings.TrimPrefix(lines[i], name)
	// Missing sections of the path are added.
	for find(d.root, toParent) == nil {
		var section string
		toParent, section = parentOf(toParent)
		lines = append([]string{section + ":"}, indented(lines, 2)...)
	}
	at, column, err := d.insertionPoint(toParent, last)
	if err != nil {
		return err
	}
	if toParent == "" {
		lines = append([]string{""}, lines...) // as between other sections
	}
	d.change(at, at, indented(lines, column))
	return nil
}

// insertionPoint is the line before which a new key of a mapping goes, and its
// column.
func (d *document) insertionPoint(mapping, after string) (line, column int, err error) {
	m := find(d.root, mapping)
	if m == nil || m.Kind == yaml.AliasNode || m.Style&yaml.FlowStyle != 0 {
		return 0, 0, errForm
	}
	if m.Kind == yaml.ScalarNode { // an empty section
		start, _, column, err := d.block(mapping)
		return start + 1, column + 2, err
	}
	if len(m.Content) == 0 {
		return 0, 0, errForm
	}
	column = m.Content[0].Column - 1
	if after == "" {
		return d.aboveComment(m.Content[0].Line-1, column), column, nil
	}
	if keyIndex(m, after) < 0 {
		after = m.Content[len(m.Content)-2].Value
	}
	_, line, _, err = d.blockOf(append(splitPath(mapping), after))
	return line, column, err
}

func indented(lines []string, by int) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		if l != "" {
			l = strings.Repeat(" ", by) + l
		}
		out[i] = l
	}
	return out
}

// insertAll makes insertions. One that follows a key that the one before
// inserted goes behind that key.
func (d *document) insertAll(edits []treeEdit) error {
	for i, e := range edits {
		lines, err := keyLines(e.to, e.node)
		if err != nil {
			return err
		}
		if i > 0 && e.path == edits[i-1].path && (e.after == edits[i-1].to || e.after == last && edits[i-1].after == last) {
			before := &d.changes[len(d.changes)-1]
			before.by = append(before.by, indented(lines, indentOf(before.by[0]))...)
			continue
		}
		at, column, err := d.insertionPoint(e.path, e.after)
		if err != nil {
			return err
		}
		lines = indented(lines, column)
		switch { // a gap, as between other sections
		case e.path == "" && e.after == "":
			lines = append(lines, "")
		case e.path == "":
			lines = append([]string{""}, lines...)
		}
		d.change(at, at, lines)
	}
	return nil
}

func keyLines(name string, value *yaml.Node) ([]string, error) {
	text, err := encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{newScalar(name), value}})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}
