package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// EditKind is what a migration did to a key.
type EditKind string

// The kinds of changes. A default is a value that was written down because it
// held already; a value that is set is one that the caller asked for.
const (
	Moved     EditKind = "moved"
	Renamed   EditKind = "renamed"
	Defaulted EditKind = "defaulted"
	Set       EditKind = "set"
	Dropped   EditKind = "dropped"
)

// Edit is one thing that a migration did, with the place in the file that it
// was given. Secrets are never in it.
type Edit struct {
	Kind   EditKind `json:"kind"`
	File   string   `json:"file"`
	Line   int      `json:"line"`
	Column int      `json:"column"`
	From   string   `json:"from,omitempty"`
	To     string   `json:"to,omitempty"`
	Value  string   `json:"value,omitempty"`
	Why    string   `json:"why,omitempty"`
}

func (c Edit) String() string {
	text := fmt.Sprintf("%s:%d:%d: %s ", c.File, c.Line, c.Column, c.Kind)
	switch {
	case c.From != "" && c.To != "":
		text += c.From + " to " + c.To
	default:
		text += c.From + c.To
	}
	if c.Value != "" {
		text += ": " + c.Value
	}
	if c.Why != "" {
		text += " (" + c.Why + ")"
	}
	return text
}

// edit is one change of a file's tree. It is data: the same edits are applied
// to the tree and to the text, and both must come out the same.
type treeEdit struct {
	kind editKind
	path string     // of the key; of the mapping, for an insertion
	to   string     // the new name, or the new path
	node *yaml.Node // what is inserted or set
	// after is the key that an insertion follows: none is the mapping's
	// beginning; where there is no such key it comes last.
	after string
}

type editKind int

const (
	editRename editKind = iota
	editMove
	editDrop
	editInsert
	editSet
)

const last = "\x00" // an insertion at the mapping's end

// splitPath takes "machine-list[3].hostip" apart.
func splitPath(path string) []string {
	if path == "" {
		return nil
	}
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// find is the value at a path, nil where there is none.
func find(root *yaml.Node, path string) *yaml.Node {
	n := root
	for _, name := range splitPath(path) {
		if n == nil {
			return nil
		}
		n = yamldoc.Resolve(n)
		switch n.Kind {
		case yaml.SequenceNode:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(n.Content) {
				return nil
			}
			n = n.Content[i]
		case yaml.MappingNode:
			i := keyIndex(n, name)
			if i < 0 {
				return nil
			}
			n = n.Content[i+1]
		default:
			return nil
		}
	}
	return n
}

// keyIndex is the place of a mapping's own key in its content, -1 without one.
func keyIndex(mapping *yaml.Node, name string) int {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if k := mapping.Content[i]; k.Kind == yaml.ScalarNode && k.Value == name {
			return i
		}
	}
	return -1
}

// parentOf is the mapping that holds the last name of a path.
func parentOf(path string) (parent, name string) {
	i := strings.LastIndex(path, ".")
	return path[:max(i, 0)], path[i+1:]
}

// apply makes an edit in a tree. The caller has seen that it can be made.
func (e treeEdit) apply(root *yaml.Node) {
	switch e.kind {
	case editInsert:
		m := yamldoc.Resolve(find(root, e.path))
		becomeMapping(m)
		at := len(m.Content)
		if i := keyIndex(m, e.after); i >= 0 {
			at = i + 2
		} else if e.after == "" {
			at = 0
		}
		m.Content = slices.Insert(m.Content, at, newScalar(e.to), e.node)
		return
	case editSet:
		n := find(root, e.path)
		anchor, style := n.Anchor, n.Style
		*n = *e.node
		n.Anchor, n.Style = anchor, style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle)
		return
	}
	parentPath, name := parentOf(e.path)
	parent := yamldoc.Resolve(find(root, parentPath))
	i := keyIndex(parent, name)
	if e.kind == editRename {
		parent.Content[i].Value = e.to
		return
	}
	k, v := parent.Content[i], parent.Content[i+1]
	if e.kind == editDrop {
		keepAnchors(root, v)
	}
	if parent.Content = slices.Delete(parent.Content, i, i+2); len(parent.Content) == 0 {
		*parent = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Anchor: parent.Anchor, Line: parent.Line, Column: parent.Column}
	}
	if e.kind == editMove {
		toParent, toName := parentOf(e.to)
		m := makeMapping(root, toParent)
		k.Value = toName
		m.Content = append(m.Content, k, v)
	}
}

// becomeMapping makes a mapping of a value that is there and empty.
func becomeMapping(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Anchor: n.Anchor, Line: n.Line, Column: n.Column}
	}
}

// makeMapping finds the mapping at a path of plain names, or makes it.
func makeMapping(root *yaml.Node, path string) *yaml.Node {
	m := root
	for _, name := range splitPath(path) {
		m = yamldoc.Resolve(m)
		becomeMapping(m)
		i := keyIndex(m, name)
		if i < 0 {
			m.Content = append(m.Content, newScalar(name), &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
			i = len(m.Content) - 2
		}
		m = m.Content[i+1]
	}
	m = yamldoc.Resolve(m)
	becomeMapping(m)
	return m
}

// keepAnchors hands what is anchored in a value that goes to the first who
// refers to it from outside.
func keepAnchors(root, going *yaml.Node) {
	inside := map[*yaml.Node]bool{}
	each(going, func(n *yaml.Node) { inside[n] = true })
	heir := map[*yaml.Node]*yaml.Node{}
	each(root, func(n *yaml.Node) {
		if n.Kind != yaml.AliasNode || inside[n] || !inside[n.Alias] {
			return
		}
		if first := heir[n.Alias]; first != nil {
			n.Alias = first
			return
		}
		heir[n.Alias] = n
		*n = *n.Alias
	})
}

// each visits a tree in reading order, without following aliases.
func each(n *yaml.Node, visit func(*yaml.Node)) {
	visit(n)
	for _, child := range n.Content {
		each(child, visit)
	}
}

func newScalar(value string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(value)
	return n
}

func newNumber(value int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(value)}
}

// clone copies a tree; aliases lead into the copy.
func clone(root *yaml.Node) *yaml.Node {
	copies := map[*yaml.Node]*yaml.Node{}
	var copyOf func(n *yaml.Node) *yaml.Node
	copyOf = func(n *yaml.Node) *yaml.Node {
		c := *n
		copies[n] = &c
		c.Content = nil
		for _, child := range n.Content {
			c.Content = append(c.Content, copyOf(child))
		}
		return &c
	}
	root = copyOf(root)
	each(root, func(n *yaml.Node) {
		if n.Kind == yaml.AliasNode && copies[n.Alias] != nil {
			n.Alias = copies[n.Alias]
		}
	})
	return root
}

// plainCopy is a value without its anchor, aliases followed.
func plainCopy(n *yaml.Node) *yaml.Node {
	c := *yamldoc.Resolve(n)
	c.Anchor, c.HeadComment, c.LineComment, c.FootComment = "", "", "", ""
	c.Content = nil
	for _, child := range yamldoc.Resolve(n).Content {
		c.Content = append(c.Content, plainCopy(child))
	}
	return &c
}

// same compares two trees as far as meaning and anchors go.
func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.ScalarNode && a.ShortTag() != b.ShortTag() {
		return false
	}
	if (a.Kind == yaml.ScalarNode || a.Kind == yaml.AliasNode) && a.Value != b.Value && a.ShortTag() != "!!null" {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}
