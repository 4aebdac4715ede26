package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// tree is one file that could be parsed: where each value is, what is wrong
// with it, and what has no effect.
type tree struct {
	*yamldoc.Report
	root   *yaml.Node
	places map[string]*yaml.Node // "machine-list[0].hostip" → its value
}

func checkShape(root *yaml.Node, k key) *tree {
	t := &tree{Report: yamldoc.NewReport(0), root: root, places: map[string]*yaml.Node{}}
	t.walk("", k, root)
	return t
}

func (t *tree) problem(n *yaml.Node, format string, args ...any) { t.Problem(n, "", format, args...) }

func (t *tree) note(n *yaml.Node, format string, args ...any) { t.Note(n, "", format, args...) }

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
	n := yamldoc.Resolve(at)
	switch k.shape {
	case object, table:
		if t.require(n.Kind == yaml.MappingNode, at, k, "a mapping") {
			t.mapping(path, k, at, n)
		}
	case list:
		if !t.require(n.Kind == yaml.SequenceNode, at, k, "a list") {
			return
		}
		if k.required && len(n.Content) == 0 {
			t.problem(at, "%s must not be empty", k.name)
		}
		for i, child := range n.Content {
			t.walk(fmt.Sprintf("%s[%d]", path, i), *k.item, child)
		}
	case text:
		// A value with another tag would be decoded to something other than what
		// is checked here.
		plain := n.Kind == yaml.ScalarNode && slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}, n.Tag)
		if t.require(plain, at, k, "text") {
			t.value(at, k, n.Value)
		}
	case number:
		value, wrong := yamldoc.Integer(n)
		if wrong != "" {
			t.wrongShape(at, k, wrong)
			return
		}
		t.value(at, k, strconv.FormatInt(value, 10))
	case flag:
		t.require(n.Kind == yaml.ScalarNode && n.Tag == "!!bool", at, k, "true or false")
	case anything:
	}
}

// require reports a value of another shape than its key has.
func (t *tree) require(ok bool, at *yaml.Node, k key, want string) bool {
	if !ok {
		t.wrongShape(at, k, want+", not "+yamldoc.Describe(at))
	}
	return ok
}

func (t *tree) wrongShape(at *yaml.Node, k key, want string) {
	t.problem(at, "%s must be %s", cmp.Or(k.name, "this"), want)
}

func (t *tree) value(n *yaml.Node, k key, value string) {
	if k.format.check == nil {
		return
	}
	if wrong := k.format.check(value); wrong != "" {
		if k.name != "" {
			wrong = k.name + ": " + wrong
		}
		t.problem(n, "%s", wrong)
	}
}

// mapping checks an object or a table. at is where it is used, n where it is
// written; they differ when at is an alias.
func (t *tree) mapping(path string, k key, at, n *yaml.Node) {
	seen := map[string]bool{}
	for _, f := range yamldoc.Fields(n, t.Report, "") {
		name := f.Key.Value
		childPath := join(path, name)
		seen[name] = true
		if k.shape == table {
			t.value(f.Key, key{name: k.name, format: k.item.format}, name)
			entry := *k.item
			entry.name = name
			t.walk(childPath, entry, f.Value)
			continue
		}
		child, known := k.child(name)
		switch {
		case known:
			if child.effect == ignored && k.effect != ignored {
				t.note(f.Key, "%s has no effect in this release", name)
			}
			// A key without a value counts as left out.
			if f.Value.Tag == "!!null" && !child.required {
				continue
			}
			t.walk(childPath, child, f.Value)
		case k.effect != ignored:
			t.problem(f.Key, "unknown key %q%s", yamldoc.Shorten(name), suggestOrList(name, k.names()))
		}
	}
	for _, child := range k.keys {
		if child.required && !seen[child.name] {
			t.problem(at, "%s is missing", child.name)
		}
	}
}

// suggestOrList names the known key that was probably meant, or all of them.
func suggestOrList(name string, known []string) string {
	if suggestion := yamldoc.Suggest(name, known); suggestion != "" {
		return suggestion
	}
	return "; known keys: " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}
