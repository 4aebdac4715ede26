package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tree is one file that could be parsed: where each value stands, what is
// wrong with it, and what has no effect.
type tree struct {
	root   *yaml.Node
	places map[string]*yaml.Node // "machine-list[0].hostip" → its value
	faults []fault
	notes  []fault
}

func checkShape(root *yaml.Node, k key) *tree {
	t := &tree{root: root, places: map[string]*yaml.Node{}}
	t.walk("", k, root)
	return t
}

func (t *tree) fault(n *yaml.Node, format string, args ...any) {
	t.faults = append(t.faults, faultAt(n, format, args...))
}

func (t *tree) note(n *yaml.Node, format string, args ...any) {
	t.notes = append(t.notes, faultAt(n, format, args...))
}

// at is the value at a path, or the nearest one around it that exists.
func (t *tree) at(path string) *yaml.Node {
	for path != "" {
		if n, ok := t.places[path]; ok {
			return n
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return t.root
}

func (t *tree) walk(path string, k key, at *yaml.Node) {
	t.places[path] = at
	n := at
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch k.shape {
	case object, table:
		if n.Kind != yaml.MappingNode {
			t.wrongType(at, n, k, "keys with values")
			return
		}
		t.mapping(path, k, at, n)
	case list:
		if n.Kind != yaml.SequenceNode {
			t.wrongType(at, n, k, "a list")
			return
		}
		if k.required && len(n.Content) == 0 {
			t.fault(at, "%s must not be empty", k.name)
		}
		for i, child := range n.Content {
			t.walk(fmt.Sprintf("%s[%d]", path, i), *k.item, child)
		}
	case text:
		// Any plain value will do as text; one with a tag of its own would be
		// decoded to something other than what is checked here.
		if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.Tag) {
			t.wrongType(at, n, k, "text")
			return
		}
		t.value(at, k, n.Value)
	case anything:
	case number:
		var value int
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&value) != nil {
			t.wrongType(at, n, k, "a whole number")
			return
		}
		t.value(at, k, strconv.Itoa(value))
	}
}

func (t *tree) value(n *yaml.Node, k key, value string) {
	if k.format.check == nil {
		return
	}
	if wrong := k.format.check(value); wrong != "" {
		t.fault(n, "%s", prefix(k.name)+wrong)
	}
}

func (t *tree) wrongType(at, n *yaml.Node, k key, want string) {
	subject := k.name
	if subject == "" {
		subject = "this"
	}
	t.fault(at, "%s must be %s, and is %s", subject, want, describe(n))
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!str":
		return "the text " + strconv.Quote(shorten(n.Value))
	case "!!int", "!!float", "!!bool":
		return shorten(n.Value)
	default:
		return "a value tagged " + shorten(n.Tag)
	}
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

func prefix(name string) string {
	if name == "" {
		return ""
	}
	return name + ": "
}

// mapping checks an object or a table. at is where it is used, n where it is
// written; they differ when at is an alias.
func (t *tree) mapping(path string, k key, at, n *yaml.Node) {
	seen := map[string]bool{}
	for _, p := range t.pairs(n) {
		name := p.key.Value
		childPath := name
		if path != "" {
			childPath = path + "." + name
		}
		seen[name] = true
		if k.shape == table {
			if k.item.format.check != nil {
				if wrong := k.item.format.check(name); wrong != "" {
					t.fault(p.key, "%s", prefix(k.name)+wrong)
				}
			}
			entry := *k.item
			entry.name = name
			t.walk(childPath, entry, p.value)
			continue
		}
		child, known := k.child(name)
		switch {
		case known:
			if child.effect == idle && k.effect != idle {
				t.note(p.key, "%s has no effect in today's PAI", name)
			}
			// A key that is there without a value counts as not there.
			if p.value.Tag == "!!null" && !child.required {
				continue
			}
			t.walk(childPath, child, p.value)
		case k.effect == idle: // nobody reads it
		default:
			t.fault(p.key, "unknown key %q%s", shorten(name), suggest(name, k.names()))
		}
	}
	for _, child := range k.keys {
		if child.required && !seen[child.name] {
			t.fault(at, "%s is missing", child.name)
		}
	}
}

type pair struct{ key, value *yaml.Node }

// pairs lists a mapping's keys with values, those of merged mappings ("<<")
// after its own and only where it has none of that name.
func (t *tree) pairs(n *yaml.Node) []pair {
	var own, merged []pair
	names := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
			merged = append(merged, t.mergedPairs(v)...)
			continue
		}
		if k.Kind != yaml.ScalarNode {
			t.fault(k, "a key must be plain text")
			continue
		}
		if first, twice := names[k.Value]; twice {
			t.fault(k, "key %q is there twice; the first is on line %d", shorten(k.Value), first.Line)
			continue
		}
		names[k.Value] = k
		own = append(own, pair{k, v})
	}
	for _, p := range merged {
		if names[p.key.Value] == nil {
			names[p.key.Value] = p.key
			own = append(own, p)
		}
	}
	return own
}

func (t *tree) mergedPairs(v *yaml.Node) []pair {
	at := v
	for v.Kind == yaml.AliasNode {
		v = v.Alias
	}
	switch v.Kind {
	case yaml.MappingNode:
		return t.pairs(v)
	case yaml.SequenceNode:
		var all []pair
		for _, one := range v.Content {
			all = append(all, t.mergedPairs(one)...)
		}
		return all
	}
	t.fault(at, "<< takes an alias of a mapping, or a list of them")
	return nil
}
