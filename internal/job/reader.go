package job

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/yamldoc"
)

// Problem is one mistake in a job, with its place.
type Problem = yamldoc.Problem

// Problems are the mistakes of a job, in the order of its text.
type Problems = yamldoc.Problems

// reader reads the parts of a job. It collects every problem instead of
// stopping at the first.
type reader struct{ *yamldoc.Report }

// parse returns the root of the document; nil, with the problems, if it cannot
// be read at all. Scalars are bounded by MaxSize.
func parse(data []byte) (*yaml.Node, Problems) {
	return yamldoc.Parse(data, yamldoc.Limits{Bytes: MaxSize, Depth: MaxDepth, ScalarBytes: MaxSize, Values: MaxSize, NoAnchors: true})
}

// object is a mapping whose fields are read one by one.
type object struct {
	reader
	path   string
	at     *yaml.Node // where to report that a field is missing
	valid  bool       // it is a mapping
	names  []string   // of its fields, in the order of the text
	fields map[string]yamldoc.Field
}

// object reads a mapping. If known fields are given, any other is a problem.
// The result can be used, and is empty, if n is not a mapping.
func (r reader) object(n, place *yaml.Node, path string, known ...string) object {
	o := object{reader: r, path: path, at: place, fields: map[string]yamldoc.Field{}}
	if n.Kind != yaml.MappingNode {
		r.Problem(n, path, "must be a mapping, not %s", yamldoc.Describe(n))
		return o
	}
	o.valid = true
	for _, f := range yamldoc.Fields(n, r.Report, path) {
		name := f.Key.Value
		if len(known) > 0 && !slices.Contains(known, name) {
			r.Problem(f.Key, o.child(name), "unknown field%s", r.suggest(name, known))
			continue
		}
		o.names = append(o.names, name)
		o.fields[name] = f
	}
	return o
}

// suggest is yamldoc.Suggest while its result is still reported.
func (r reader) suggest(word string, candidates []string) string {
	if r.Full() {
		return ""
	}
	return yamldoc.Suggest(word, candidates)
}

// maxPath is more than a problem quotes of a path. Without it, paths could be many
// times as long as the job.
const maxPath = 4 << 10

func (o object) child(name string) string {
	path := name
	if o.path != "" {
		path = o.path + "." + name
	}
	return strings.ToValidUTF8(path[:min(len(path), maxPath)], "")
}

// problemValue reports a problem at the value of a field, problemKey one at its name, and
// Problem one at any node.
func (o object) problemValue(name, format string, args ...any) {
	o.Problem(o.fields[name].Value, o.child(name), format, args...)
}

func (o object) problemKey(name, format string, args ...any) {
	o.Problem(o.fields[name].Key, o.child(name), format, args...)
}

// get returns the value of a field; nil if it is missing or null.
func (o object) get(name string) *yaml.Node {
	if n := o.fields[name].Value; n != nil && n.Tag != "!!null" {
		return n
	}
	return nil
}

// need is get for a required field.
func (o object) need(name string) *yaml.Node {
	n := o.get(name)
	switch {
	case n != nil || !o.valid:
	case o.fields[name].Key != nil:
		o.problemKey(name, "must not be empty")
	default:
		o.Problem(o.at, o.child(name), "is missing")
	}
	return n
}

// nested reads an optional field that is a mapping; nil if it is left out.
func (o object) nested(name string, known ...string) *object {
	n := o.get(name)
	if n == nil {
		return nil
	}
	inner := o.object(n, o.fields[name].Key, o.child(name), known...)
	return &inner
}

// quietly reads an optional field that is a mapping, and whose problems are reported
// elsewhere; nil if it is none.
func (o object) quietly(name string) *object {
	n := o.get(name)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	inner := reader{yamldoc.NewReport(1)}.object(n, n, o.child(name))
	return &inner
}

// flag reads an optional truth value, which can be in quotes.
func (o object) flag(name string) bool {
	n := o.get(name)
	if n == nil {
		return false
	}
	switch text := strings.ToLower(n.Value); {
	case n.Kind == yaml.ScalarNode && text == "true":
		return true
	case n.Kind == yaml.ScalarNode && text == "false":
	default:
		o.problemValue(name, "must be true or false, not %s", yamldoc.Describe(n))
	}
	return false
}

// list reads an optional list of strings.
func (o object) list(name string) (texts []string) {
	if n := o.get(name); n != nil {
		o.texts(n, o.child(name), func(_ *yaml.Node, _, s string) { texts = append(texts, s) })
	}
	return texts
}

// text reads a string; numbers and the like must be quoted.
func (r reader) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf(": write %q in quotes", yamldoc.Shorten(n.Value))
		}
		r.Problem(n, path, "must be a string, not %s%s", yamldoc.Describe(n), hint)
		return "", false
	}
	if n.Value == "" {
		r.Problem(n, path, "must not be empty")
		return "", false
	}
	return n.Value, true
}

// texts reads a list of at least one string; strings with a problem are left out.
func (r reader) texts(n *yaml.Node, path string, each func(item *yaml.Node, path, text string)) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		r.Problem(n, path, "must be a list of at least one string")
		return
	}
	for i, item := range n.Content {
		place := fmt.Sprintf("%s[%d]", path, i)
		if s, ok := r.text(item, place); ok {
			each(item, place, s)
		}
	}
}

// exactly checks a required field that has only one value.
func (o object) exactly(name, want string) {
	if n := o.need(name); n != nil && (n.Kind != yaml.ScalarNode || n.Value != want) {
		o.problemValue(name, "must be %s, not %s", want, yamldoc.Describe(n))
	}
}

// freeText checks that optional fields hold plain values.
func (o object) freeText(names ...string) {
	for _, name := range names {
		if n := o.get(name); n != nil && n.Kind != yaml.ScalarNode {
			o.problemValue(name, "must be a string, not %s", yamldoc.Describe(n))
		}
	}
}

// integer reads an optional whole number of at least low and at most high.
func (o object) integer(name string, fallback, low, high int64) int64 {
	n := o.get(name)
	if n == nil {
		return fallback
	}
	v, wrong := yamldoc.Integer(n)
	if wrong != "" {
		o.problemValue(name, "must be %s", wrong)
		return fallback
	}
	if v < low || v > high {
		o.problemValue(name, "must be from %d to %d, not %d", low, high, v)
		return fallback
	}
	return v
}

// milli reads a required number greater than 0 in thousandths.
func (o object) milli(name string, high int64) int64 {
	n := o.need(name)
	if n == nil {
		return 0
	}
	v, wrong := yamldoc.Number(n)
	if wrong != "" {
		o.problemValue(name, "must be %s", wrong)
		return 0
	}
	if v < 0.001 || v > float64(high) {
		o.problemValue(name, "must be from 0.001 to %d, not %s", high, yamldoc.Shorten(n.Value))
		return 0
	}
	return int64(math.Round(v * 1000))
}
