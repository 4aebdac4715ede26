package config

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// splitPath splits "machine-list[3].hostip" into its names.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// parentOf splits a path into that of the mapping and the last name.
func parentOf(path string) (parent, name string) {
	i := strings.LastIndex(path, ".")
	return path[:max(i, 0)], path[i+1:]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// find is the value at a path; nil if there is none, or no root.
func find(root *yaml.Node, path string) *yaml.Node {
	n := root
	for _, name := range splitPath(path) {
		if n == nil {
			return nil
		}
		n = yamldoc.Resolve(n)
		i := keyIndex(n, name) + 1
		if n.Kind == yaml.SequenceNode {
			var err error
			if i, err = strconv.Atoi(name); err != nil {
				return nil
			}
		} else if i == 0 {
			return nil
		}
		if i < 0 || i >= len(n.Content) {
			return nil
		}
		n = n.Content[i]
	}
	return n
}

// keyIndex is the position of a mapping's own key in its content, -1 without it.
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

// keyAt is the node of a mapping's own key; nil if there is none.
func keyAt(root *yaml.Node, path string) *yaml.Node {
	parentPath, name := parentOf(path)
	parent := find(root, parentPath)
	if parent == nil {
		return nil
	}
	parent = yamldoc.Resolve(parent)
	if i := keyIndex(parent, name); i >= 0 {
		return parent.Content[i]
	}
	return nil
}

// plain is the text of a plain value on one line; empty for other nodes.
func plain(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	if n = yamldoc.Resolve(n); n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || strings.Contains(n.Value, "\n") {
		return ""
	}
	return n.Value
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

func newMapping(content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: content}
}

// plainCopy is a value without its anchor and comments, aliases followed.
func plainCopy(n *yaml.Node) *yaml.Node {
	c := *yamldoc.Resolve(n)
	c.Anchor, c.HeadComment, c.LineComment, c.FootComment = "", "", "", ""
	content := c.Content
	c.Content = nil
	for _, child := range content {
		c.Content = append(c.Content, plainCopy(child))
	}
	return &c
}

// same reports whether two trees have the same meaning and the same anchors.
func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Anchor != b.Anchor {
		return false
	}
	switch {
	case a.Kind == yaml.ScalarNode && a.ShortTag() != b.ShortTag():
		return false
	case (a.Kind == yaml.ScalarNode || a.Kind == yaml.AliasNode) && a.Value != b.Value && a.ShortTag() != "!!null":
		return false
	}
	return slices.EqualFunc(a.Content, b.Content, same)
}
