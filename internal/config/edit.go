package config

import (
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// EditKind is what a migration did to a key.
type EditKind string

// The kinds of edits. Defaulted is a value that is written down because it was
// in effect already; Set is one that the caller asked for.
const (
	Moved     EditKind = "moved"
	Renamed   EditKind = "renamed"
	Defaulted EditKind = "defaulted"
	Set       EditKind = "set"
	Dropped   EditKind = "dropped"
)

// Edit is one thing that a migration did, with its place in the file before.
// Secrets are never in it.
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

func (e Edit) String() string {
	text := fmt.Sprintf("%s:%d:%d: %s %s", e.File, e.Line, e.Column, e.Kind, e.From)
	if e.From != "" && e.To != "" {
		text += " to "
	}
	text += e.To
	if e.Value != "" {
		text += ": " + e.Value
	}
	if e.Why != "" {
		text += " (" + e.Why + ")"
	}
	return text
}

// treeEdit is an edit of the tree of a file. It is data: the same edits are
// applied to the tree and to the text, and both must have the same result.
type treeEdit struct {
	kind editKind
	path string     // of the key; of the mapping, for an insertion
	to   string     // the new name, or the new path
	node *yaml.Node // the inserted or new value
	// after is the key that an insertion follows. If empty, the insertion comes
	// first in the mapping; if there is no such key, last.
	after string
}

type editKind int

const (
	editRename editKind = iota
	editMove
	editDrop
	editInsert
	editSet
	editCutItem    // to is the position in the list
	editAppendItem // node is the new item of the list
)

const last = "\x00" // an insertion at the end of the mapping

// apply makes an edit in a tree. The caller has checked that it is possible.
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
	case editSet:
		n := find(root, e.path)
		anchor, style := n.Anchor, n.Style
		*n = *e.node
		n.Anchor, n.Style = anchor, style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle)
	case editRename:
		keyAt(root, e.path).Value = e.to
	case editCutItem:
		at, _ := strconv.Atoi(e.to)
		cutItem(root, e.path, at)
	case editAppendItem:
		items := yamldoc.Resolve(find(root, e.path))
		items.Content = append(items.Content, e.node)
	case editDrop:
		keepAnchors(root, find(root, e.path))
		cutKey(root, e.path)
	case editMove:
		k, v := cutKey(root, e.path)
		toParent, toName := parentOf(e.to)
		m := makeMapping(root, toParent)
		k.Value = toName
		m.Content = append(m.Content, k, v)
	}
}

// cutKey removes a key from its mapping, which is null if it was the last one.
func cutKey(root *yaml.Node, path string) (key, value *yaml.Node) {
	parentPath, name := parentOf(path)
	parent := yamldoc.Resolve(find(root, parentPath))
	i := keyIndex(parent, name)
	key, value = parent.Content[i], parent.Content[i+1]
	if parent.Content = slices.Delete(parent.Content, i, i+2); len(parent.Content) == 0 {
		*parent = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Anchor: parent.Anchor, Line: parent.Line, Column: parent.Column}
	}
	return key, value
}

// becomeMapping turns an empty value into a mapping.
func becomeMapping(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		*n = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Anchor: n.Anchor, Line: n.Line, Column: n.Column}
	}
}

// makeMapping finds the mapping at a path of plain names, or adds it.
func makeMapping(root *yaml.Node, path string) *yaml.Node {
	m := root
	for _, name := range splitPath(path) {
		m = yamldoc.Resolve(m)
		becomeMapping(m)
		i := keyIndex(m, name)
		if i < 0 {
			m.Content = append(m.Content, newScalar(name), newMapping())
			i = len(m.Content) - 2
		}
		m = m.Content[i+1]
	}
	m = yamldoc.Resolve(m)
	becomeMapping(m)
	return m
}

// keepAnchors copies what is anchored in a removed value to the first alias
// outside of it.
func keepAnchors(root, removed *yaml.Node) {
	inside := map[*yaml.Node]bool{}
	each(removed, func(n *yaml.Node) { inside[n] = true })
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
