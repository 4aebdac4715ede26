package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is a file as lines with its tree. Changes are collected and made
// together, so that the tree's line numbers hold.
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

func parseText(data []byte) (*document, error) {
	root, problems := parse(data)
	if root == nil {
		return nil, errors.New(problems[0].Message)
	}
	t := &document{root: root, newline: "\n"}
	if bytes.Contains(data, []byte("\r\n")) {
		t.newline = "\r\n"
	}
	t.lines = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i, l := range t.lines {
		t.lines[i] = strings.TrimSuffix(l, "\r")
	}
	if t.end = slices.Index(t.lines, "..."); t.end < 0 {
		t.end = len(t.lines)
	}
	return t, nil
}

func (t *document) bytes() []byte {
	// At one line, what was asked for later stands before what was asked for
	// earlier, as in the tree.
	slices.Reverse(t.changes)
	slices.SortStableFunc(t.changes, func(a, b lineChange) int { return cmp.Compare(a.from, b.from) })
	var out []string
	next := 0
	for _, c := range t.changes {
		if c.from > next {
			out = append(out, t.lines[next:c.from]...)
		}
		out = append(out, c.by...)
		next = max(next, c.from, c.to)
	}
	return []byte(strings.Join(append(out, t.lines[next:]...), t.newline) + t.newline)
}

// block finds the lines [start, end) of a key with its value, its column, and
// where the mapping around it ends.
func (t *document) block(path string) (start, end, column int, err error) {
	n, limit := t.root, t.end
	for _, name := range splitPath(path) {
		if n.Kind == yaml.SequenceNode && n.Style&yaml.FlowStyle == 0 {
			i := 0
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(n.Content) {
				return 0, 0, 0, errForm
			}
			if i+1 < len(n.Content) {
				limit = n.Content[i+1].Line - 1
			}
			n = n.Content[i]
			continue
		}
		i := keyIndex(n, name)
		if i < 0 || n.Style&yaml.FlowStyle != 0 {
			return 0, 0, 0, errForm
		}
		if i+2 < len(n.Content) {
			limit = n.Content[i+2].Line - 1
		}
		k := n.Content[i]
		start, column, n = k.Line-1, k.Column-1, n.Content[i+1]
	}
	if start >= limit || limit > len(t.lines) {
		return 0, 0, 0, errForm
	}
	// What follows the value without belonging to it: blank lines, and comments
	// no deeper than the key.
	for end = limit; end > start+1 && (strings.TrimSpace(t.lines[end-1]) == "" || isComment(t.lines[end-1]) && indentOf(t.lines[end-1]) <= column); {
		end--
	}
	return start, end, column, nil
}

func isComment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// rename replaces a key's own characters.
func (t *document) rename(e treeEdit) error {
	parentPath, name := parentOf(e.path)
	parent := find(t.root, parentPath)
	i := keyIndex(parent, name)
	if i < 0 {
		return errForm
	}
	k := parent.Content[i]
	line := t.lines[k.Line-1]
	at := 0
	for at < len(line) && len([]rune(line[:at])) < k.Column-1 {
		at++
	}
	if k.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		at++
	}
	if at > len(line) || !strings.HasPrefix(line[at:], name) || k.Anchor != "" {
		return errForm
	}
	t.changes = append(t.changes, lineChange{k.Line - 1, k.Line, []string{line[:at] + e.to + line[at+len(name):]}})
	return nil
}

// take removes a key with its value and the comment right above it, and
// returns these lines without their indentation.
func (t *document) take(path string) ([]string, error) {
	start, end, column, err := t.block(path)
	if err != nil {
		return nil, err
	}
	if indentOf(t.lines[start]) != column {
		return nil, errForm // something stands in front of the key
	}
	first := start
	for first > 0 && isComment(t.lines[first-1]) && indentOf(t.lines[first-1]) == column {
		first--
	}
	if first == 0 {
		first = start // the file's own heading
	}
	var taken []string
	for _, l := range t.lines[first:end] {
		if strings.TrimSpace(l[:min(column, len(l))]) != "" {
			return nil, errForm
		}
		taken = append(taken, l[min(column, len(l)):])
	}
	// Of the blank lines around what is gone, one gap is enough.
	gap := end
	for first > 0 && strings.TrimSpace(t.lines[first-1]) == "" && gap < len(t.lines) && strings.TrimSpace(t.lines[gap]) == "" {
		gap++
	}
	t.changes = append(t.changes, lineChange{end, gap, nil}, lineChange{first, end, nil})
	return taken, nil
}

func (t *document) move(e treeEdit) error {
	_, name := parentOf(e.path)
	toParent, toName := parentOf(e.to)
	taken, err := t.take(e.path)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(taken, func(l string) bool { return strings.HasPrefix(l, name) })
	if i < 0 {
		return errForm
	}
	taken[i] = toName + strings.TrimPrefix(taken[i], name)
	// Sections that are missing on the way are made.
	for find(t.root, toParent) == nil {
		var section string
		toParent, section = parentOf(toParent)
		taken = append([]string{section + ":"}, indented(taken, 2)...)
	}
	at, column, err := t.place(toParent, last)
	if err != nil {
		return err
	}
	if toParent == "" {
		taken = append([]string{""}, taken...) // as between other sections
	}
	t.changes = append(t.changes, lineChange{at, at, indented(taken, column)})
	return nil
}

// place is the line in front of which a mapping's new key goes, and its column.
func (t *document) place(mapping, after string) (line, column int, err error) {
	m := find(t.root, mapping)
	if m == nil || m.Kind == yaml.AliasNode || m.Style&yaml.FlowStyle != 0 {
		return 0, 0, errForm
	}
	if m.Kind == yaml.ScalarNode { // a section without anything in it
		start, _, column, err := t.block(mapping)
		return start + 1, column + 2, err
	}
	if len(m.Content) == 0 {
		return 0, 0, errForm
	}
	column = m.Content[0].Column - 1
	if after == "" {
		return t.aboveComment(m.Content[0].Line-1, column), column, nil
	}
	if keyIndex(m, after) < 0 {
		after = m.Content[len(m.Content)-2].Value
	}
	_, line, _, err = t.block(join(mapping, after))
	return line, column, err
}

// aboveComment is the line of the comment right above a line, or that line
// where the comment is the file's own heading.
func (t *document) aboveComment(line, column int) int {
	first := line
	for first > 0 && isComment(t.lines[first-1]) && indentOf(t.lines[first-1]) == column {
		first--
	}
	if first == 0 {
		return line
	}
	return first
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

// insertAll makes insertions. One that follows what the one before inserted is
// put behind it.
func (t *document) insertAll(edits []treeEdit) error {
	for i, e := range edits {
		lines, err := keyLines(e.to, e.node)
		if err != nil {
			return err
		}
		if i > 0 && e.path == edits[i-1].path && (e.after == edits[i-1].to || e.after == last && edits[i-1].after == last) {
			before := &t.changes[len(t.changes)-1]
			before.by = append(before.by, indented(lines, indentOf(before.by[0]))...)
			continue
		}
		at, column, err := t.place(e.path, e.after)
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
		t.changes = append(t.changes, lineChange{at, at, lines})
	}
	return nil
}

func keyLines(name string, value *yaml.Node) ([]string, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	m := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{newScalar(name), value}}
	if err := errors.Join(enc.Encode(m), enc.Close()); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), nil
}
