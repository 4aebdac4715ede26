package config

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// editor applies edits to trees and records them. Files are named as in the
// newest schema; the machines are always those of LayoutFile.
type editor struct {
	trees map[string]*yaml.Node
	// schemas are those of the files: a migration skips what is newer.
	schemas   map[string]int
	treeEdits map[string][]treeEdit
	edits     []Edit
}

// newEditor edits the roots of the files in place.
func newEditor(f *fileSet) *editor {
	e := &editor{trees: map[string]*yaml.Node{}, schemas: map[string]int{}, treeEdits: map[string][]treeEdit{}}
	for name, root := range f.roots {
		e.trees[name], e.schemas[name] = root, f.schemaOf(name)
	}
	if !f.namesSchema(ServicesFile) {
		e.schemas[ServicesFile] = OldestSchema // both releases read either name of a key
	}
	return e
}

// older reports whether a file exists and has a schema older than this one.
func (e *editor) older(file string, schema int) bool {
	return e.trees[file] != nil && e.schemas[file] < schema
}

func (e *editor) find(file, path string) *yaml.Node { return find(e.trees[file], path) }

func (e *editor) key(file, path string) *yaml.Node { return keyAt(e.trees[file], path) }

func (e *editor) do(file string, at *yaml.Node, c Edit, t treeEdit) {
	c.File, c.Line, c.Column = file, max(at.Line, 1), max(at.Column, 1)
	e.edits = append(e.edits, c)
	e.treeEdits[file] = append(e.treeEdits[file], t)
	t.apply(e.trees[file])
}

// relocate renames or moves a key. If the new key exists already, a section is
// merged into it; of two values that of the new key wins.
func (e *editor) relocate(file, from, to string) {
	k := e.key(file, from)
	if k == nil || !e.canInsert(file, to) {
		return
	}
	if e.key(file, to) != nil {
		e.merge(file, from, to)
		return
	}
	fromParent, _ := parentOf(from)
	toParent, name := parentOf(to)
	if fromParent == toParent {
		e.do(file, k, Edit{Kind: Renamed, From: from, To: to}, treeEdit{kind: editRename, path: from, to: name})
		return
	}
	e.do(file, k, Edit{Kind: Moved, From: from, To: to}, treeEdit{kind: editMove, path: from, to: to})
}

func (e *editor) merge(file, from, to string) {
	older, newer := e.find(file, from), yamldoc.Resolve(e.find(file, to))
	if older.Kind != yaml.MappingNode || newer.Kind != yaml.MappingNode {
		e.drop(file, from, to+" exists and wins")
		return
	}
	var names []string
	for i := 0; i < len(older.Content); i += 2 {
		names = append(names, older.Content[i].Value)
	}
	for _, name := range names {
		e.relocate(file, join(from, name), join(to, name))
	}
	e.drop(file, from, "all of its keys are in "+to)
}

// canInsert reports whether a key can be put at a path: the nearest value around
// it is a mapping, or empty.
func (e *editor) canInsert(file, path string) bool {
	for parent, _ := parentOf(path); ; parent, _ = parentOf(parent) {
		if n := e.find(file, parent); n != nil {
			n = yamldoc.Resolve(n)
			return n.Kind == yaml.MappingNode || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
		}
		if parent == "" {
			return false
		}
	}
}

func (e *editor) drop(file, path, why string) {
	if k := e.key(file, path); k != nil {
		e.do(file, k, Edit{Kind: Dropped, From: path, Why: why}, treeEdit{kind: editDrop, path: path})
	}
}

// set changes a value.
func (e *editor) set(file, path string, value *yaml.Node) {
	e.do(file, e.find(file, path), Edit{Kind: Set, To: path, Value: value.Value}, treeEdit{kind: editSet, path: path, node: value})
}

// insert adds a key to a mapping that exists, unless the mapping has the key
// itself or merged. The edit has the place of the node at.
func (e *editor) insert(file, mapping, name string, value *yaml.Node, after string, c Edit, at *yaml.Node) {
	if m := e.find(file, mapping); m != nil && fieldOf(m, name) == nil {
		e.insertOwn(file, mapping, name, value, after, c, at)
	}
}

// insertOwn is insert where merged keys do not count.
func (e *editor) insertOwn(file, mapping, name string, value *yaml.Node, after string, c Edit, at *yaml.Node) {
	if !e.canInsert(file, join(mapping, name)) {
		return
	}
	if c.To == "" {
		c.To = join(mapping, name)
	}
	if value.Kind == yaml.ScalarNode && !slices.Contains(secretNames(), name) {
		c.Value = value.Value
	}
	e.do(file, at, c, treeEdit{kind: editInsert, path: mapping, to: name, node: value, after: after})
}

// insertSection is insert at the end of a section, which is added if necessary.
func (e *editor) insertSection(file, section, name string, value *yaml.Node, c Edit) {
	c.To = join(section, name)
	if value.Kind == yaml.ScalarNode {
		c.Value = value.Value
	}
	for e.find(file, section) == nil && section != "" {
		var inner string
		section, inner = parentOf(section)
		value, name = newMapping(newScalar(name), value), inner
	}
	if at := e.find(file, section); at != nil {
		e.insert(file, section, name, value, last, c, at)
	}
}
