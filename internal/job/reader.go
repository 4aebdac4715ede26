package job

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader walks a YAML document and collects every problem with its place,
// instead of stopping at the first.
type reader struct {
	problems []Problem
	warnings []Problem
}

// fail records a problem at a node.
func (r *reader) fail(n *yaml.Node, path, format string, args ...any) {
	r.problems = append(r.problems, at(n, path, fmt.Sprintf(format, args...)))
}

// warn records that something is accepted but has no effect.
func (r *reader) warn(n *yaml.Node, path, format string, args ...any) {
	r.warnings = append(r.warnings, at(n, path, fmt.Sprintf(format, args...)))
}

func at(n *yaml.Node, path, message string) Problem {
	p := Problem{Path: path, Message: message}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	return p
}

// err returns the problems in the order of the text, nil when there are none.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if more := len(r.problems) - maxProblems; more > 0 {
		r.problems = append(r.problems[:maxProblems], Problem{Message: fmt.Sprintf("and %d more", more)})
	}
	return Problems(r.problems)
}

// document parses data into the node of its only document; nil, with the
// problem recorded, when it cannot be used at all.
func (r *reader) document(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		r.fail(nil, "", "the job is %d bytes long; at most %d are accepted", len(data), MaxSize)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		r.syntax(err)
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		r.fail(&second, "", "a second YAML document starts here; a job is one document")
		return nil
	case !errors.Is(err, io.EOF):
		r.syntax(err)
		return nil
	}
	if len(doc.Content) != 1 || !r.wellFormed(&doc, "", 0) {
		return nil
	}
	return doc.Content[0]
}

// The YAML package counts lines from 1 in its scanner's errors, from 0 in its
// parser's.
var (
	syntaxError = regexp.MustCompile(`^line (\d+): (.*)$`)
	parserError = regexp.MustCompile(`^did not find expected (<|node content|'-' indicator|key|',' or)`)
)

func (r *reader) syntax(err error) {
	if errors.Is(err, io.EOF) {
		r.fail(nil, "", "the job is empty")
		return
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{Message: "this is not YAML: " + text}
	if m := syntaxError.FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Column = 1
		if parserError.MatchString(m[2]) {
			p.Line++
		}
		p.Message = "this is not YAML: " + m[2]
	}
	r.problems = append(r.problems, p)
}

// wellFormed refuses what a job never needs and a reader could be hurt by:
// aliases, deep nesting, NUL bytes.
func (r *reader) wellFormed(n *yaml.Node, path string, depth int) bool {
	ok := true
	switch {
	case depth > MaxDepth:
		r.fail(n, path, "nested more than %d levels deep", MaxDepth)
		return false
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.fail(n, path, "YAML anchors and aliases are not accepted in a job: write the value out")
		ok = false
	case n.Kind == yaml.ScalarNode && strings.ContainsRune(n.Value, 0):
		r.fail(n, path, "contains a NUL character")
		ok = false
	}
	if n.Kind == yaml.AliasNode {
		return false
	}
	for _, c := range n.Content {
		ok = r.wellFormed(c, path, depth+1) && ok
	}
	return ok
}

// object is a mapping whose fields are read one by one.
type object struct {
	r      *reader
	path   string
	at     *yaml.Node            // where to report that a field is missing
	keys   []string              // in the order of the text
	fields map[string]*yaml.Node // nil when there is no mapping
	key    map[string]*yaml.Node
}

// object reads a mapping. With known fields given, any other is a problem.
// The result is usable, and empty, when n is not a mapping.
func (r *reader) object(n, place *yaml.Node, path string, known ...string) object {
	o := object{r: r, path: path, at: place}
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "must be a mapping of names to values, not %s", kindOf(n))
		return o
	}
	o.fields, o.key = map[string]*yaml.Node{}, map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			r.fail(key, path, "a field's name must be a plain word")
			continue
		}
		name := key.Value
		if first, twice := o.key[name]; twice {
			r.fail(key, o.child(name), "given twice, first in line %d", first.Line)
			continue
		}
		o.key[name] = key
		if len(known) > 0 && !slices.Contains(known, name) {
			hint := ""
			if near := nearest(name, known); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			r.fail(key, o.child(name), "unknown field%s", hint)
			continue
		}
		o.keys = append(o.keys, name)
		o.fields[name] = value
	}
	return o
}

func (o object) child(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// get returns a field's node; nil when it is missing or null.
func (o object) get(name string) *yaml.Node {
	if n := o.fields[name]; n != nil && n.Tag != "!!null" {
		return n
	}
	return nil
}

// need is get, with a problem recorded when there is nothing.
func (o object) need(name string) *yaml.Node {
	n := o.get(name)
	if n == nil {
		if at := o.key[name]; at != nil {
			o.r.fail(at, o.child(name), "must not be empty")
		} else if o.fields != nil {
			o.r.fail(o.at, o.child(name), "is missing")
		}
	}
	return n
}

// text reads a string; numbers and the like must be quoted.
func (o object) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := ""
		if n.Kind == yaml.ScalarNode {
			hint = fmt.Sprintf(": write %q in quotes", n.Value)
		}
		o.r.fail(n, path, "must be a string, not %s%s", kindOf(n), hint)
		return "", false
	}
	if n.Value == "" {
		o.r.fail(n, path, "must not be empty")
		return "", false
	}
	return n.Value, true
}

// freeText checks that an optional field, if given, is any scalar.
func (o object) freeText(names ...string) {
	for _, name := range names {
		if n := o.get(name); n != nil && n.Kind != yaml.ScalarNode {
			o.r.fail(n, o.child(name), "must be a string, not %s", kindOf(n))
		}
	}
}

// integer reads an optional whole number of at least low and at most high.
func (o object) integer(name string, fallback, low, high int64) int64 {
	n := o.get(name)
	if n == nil {
		return fallback
	}
	path := o.child(name)
	var v int64
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&v) != nil {
		o.r.fail(n, path, "must be a whole number, not %s", valueOf(n))
		return fallback
	}
	if v < low || v > high {
		o.r.fail(n, path, "must be from %d to %d, not %d", low, high, v)
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
	path := o.child(name)
	var v float64
	if n.Kind != yaml.ScalarNode || (n.Tag != "!!int" && n.Tag != "!!float") || n.Decode(&v) != nil || math.IsNaN(v) {
		o.r.fail(n, path, "must be a number, not %s", valueOf(n))
		return 0
	}
	if v < 0.001 || v > float64(high) {
		o.r.fail(n, path, "must be from 0.001 to %d, not %s", high, n.Value)
		return 0
	}
	return int64(math.Round(v * 1000))
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "a number"
	case n.Tag == "!!bool":
		return "true or false"
	case n.Tag == "!!null":
		return "nothing"
	case n.Tag == "!!str":
		return "a string"
	default:
		return "a value of type " + strings.TrimPrefix(n.Tag, "!!")
	}
}

// valueOf shows a scalar, else its kind.
func valueOf(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && len(n.Value) <= 40 {
		return strconv.Quote(n.Value)
	}
	return kindOf(n)
}
