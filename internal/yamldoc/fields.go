package yamldoc

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Field is a key of a mapping with its value.
type Field struct{ Key, Value *yaml.Node }

// Fields lists the fields of a mapping in their order, and then those of
// mappings that are merged into it ("<<") and that it has not itself. What is
// wrong with a key goes into the report, if there is one. Other nodes have no
// fields.
func Fields(mapping *yaml.Node, r *Report, path string) []Field {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	problem := func(n *yaml.Node, format string, args ...any) {
		if r != nil {
			r.Problem(n, path, format, args...)
		}
	}
	var own, merged []Field
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		f := Field{mapping.Content[i], mapping.Content[i+1]}
		switch earlier := first[f.Key.Value]; {
		case f.Key.Kind != yaml.ScalarNode:
			problem(f.Key, "a key must be plain text")
		case f.Key.Tag == "!!merge":
			for _, m := range mergedMappings(f.Value) {
				if m.Kind == yaml.MappingNode {
					merged = append(merged, Fields(m, r, path)...)
				} else {
					problem(f.Value, "<< takes an alias of a mapping, or a list of them")
				}
			}
		case earlier != nil:
			problem(f.Key, "duplicate key %q; the first is on line %d", Shorten(f.Key.Value), earlier.Line)
		default:
			first[f.Key.Value] = f.Key
			own = append(own, f)
		}
	}
	for _, f := range merged {
		if first[f.Key.Value] == nil {
			first[f.Key.Value] = f.Key
			own = append(own, f)
		}
	}
	return own
}

// mergedMappings are the nodes that the value of "<<" names.
func mergedMappings(v *yaml.Node) []*yaml.Node {
	v = Resolve(v)
	if v.Kind != yaml.SequenceNode {
		return []*yaml.Node{v}
	}
	var all []*yaml.Node
	for _, one := range v.Content {
		all = append(all, mergedMappings(one)...)
	}
	return all
}

// Describe says what a node holds, for messages: `a list`, `the text "two"`.
func Describe(n *yaml.Node) string {
	switch n = Resolve(n); n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode, yaml.DocumentNode, yaml.AliasNode:
	}
	switch n.Tag {
	case "!!null":
		return "empty"
	case "!!str":
		return "the text " + strconv.Quote(Shorten(n.Value))
	case "!!int", "!!float", "!!bool":
		return Shorten(n.Value)
	default:
		return "a value tagged " + Shorten(n.Tag)
	}
}

// Shorten cuts a text of the document to what a message can quote.
func Shorten(s string) string { return shortened(s, 40) }

func shortened(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return s
}
