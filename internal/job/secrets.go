package job

import (
	"bytes"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maskedValue stands for the value of a secret wherever a job is shown.
	maskedValue = "******"
	// maskedEverywhere is the least length of a value that is also masked where the text
	// of the job repeats it. Shorter ones are parts of other words.
	maskedEverywhere = 8
)

// secrets are the values that no text of a job shows.
type secrets struct {
	names   []string // sorted
	nodes   map[string]*yaml.Node
	used    map[string]bool
	hidden  []*yaml.Node // all of them, and passwords without a name
	touched bool         // one was used since this was last reset
}

// secrets reads the secrets of the job. A problem never quotes a value.
func (o object) secrets() *secrets {
	s := &secrets{nodes: map[string]*yaml.Node{}, used: map[string]bool{}}
	n := o.get("secrets")
	if n == nil {
		return s
	}
	if n.Kind != yaml.MappingNode {
		o.problemKey("secrets", "must be a mapping")
		s.hide(n)
		return s
	}
	all := o.object(n, o.fields["secrets"].Key, "secrets")
	for _, name := range all.names {
		v := all.fields[name].Value
		s.hide(v)
		if v.Kind != yaml.ScalarNode {
			all.problemKey(name, "must be a single value")
			continue
		}
		s.nodes[name] = v
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	return s
}

// use returns the value of a secret.
func (s *secrets) use(name string) (string, bool) {
	n, ok := s.nodes[name]
	if !ok {
		return "", false
	}
	s.used[name], s.touched = true, true
	return n.Value, true
}

func (s *secrets) hide(n *yaml.Node) {
	if n != nil {
		s.hidden = append(s.hidden, n)
	}
}

func (s *secrets) reportUnused(r reader) {
	for _, name := range s.names {
		if !s.used[name] {
			r.Note(s.nodes[name], "secrets."+name, "nothing refers to it")
		}
	}
}

// masked returns the text of a job without the values of its secrets; nil if it has
// none. It changes the document, so it is the last that reads it.
func (o object) masked(root *yaml.Node, s *secrets) []byte {
	var values []string
	for _, n := range s.hidden {
		values = append(values, maskNode(n)...)
	}
	if len(s.hidden) == 0 {
		return nil
	}
	values = slices.DeleteFunc(values, func(v string) bool { return len(v) < maskedEverywhere })
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) }) // one can contain another
	repeated := strings.NewReplacer(pairsOf(values)...)
	eachNode(root, func(n *yaml.Node) {
		if len(values) > 0 {
			n.Value = repeated.Replace(n.Value)
			n.HeadComment, n.LineComment, n.FootComment = repeated.Replace(n.HeadComment), repeated.Replace(n.LineComment), repeated.Replace(n.FootComment)
		}
	})
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil || out.Len() > MaxSize {
		o.problemKey("secrets", "the text of the job without its secrets cannot be stored: make the job smaller")
		return nil
	}
	return out.Bytes()
}

// maskNode replaces the values below a node, and returns what they were. A reference
// to a secret stays: it shows nothing.
func maskNode(n *yaml.Node) (values []string) {
	eachNode(n, func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && reference.FindString(n.Value) != n.Value {
			values = append(values, n.Value)
			n.Value, n.Tag, n.Style = maskedValue, "!!str", yaml.DoubleQuotedStyle
		}
	})
	return values
}

func eachNode(n *yaml.Node, do func(*yaml.Node)) {
	do(n)
	for _, child := range n.Content {
		eachNode(child, do)
	}
}

func pairsOf(values []string) (pairs []string) {
	for _, v := range values {
		pairs = append(pairs, v, maskedValue)
	}
	return pairs
}
