package yamldoc

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Limits bound a document, so that none costs more than a moment to refuse.
type Limits struct {
	Bytes       int
	Depth       int // nested levels
	ScalarBytes int // of one value
	Values      int // with aliases followed
	// Aliases is how many aliases a document can use; NoAnchors forbids them.
	Aliases   int
	NoAnchors bool
}

// Parse returns the root of the only document in data. Without a root there is
// at least one problem.
func Parse(data []byte, l Limits) (*yaml.Node, Problems) {
	one := func(p Problem) (*yaml.Node, Problems) { return nil, Problems{p} }
	start := &yaml.Node{Line: 1, Column: 1}
	if len(data) > l.Bytes {
		return one(ProblemAt(start, "", "the document is larger than the limit of %d bytes", l.Bytes))
	}
	if !utf8.Valid(data) {
		return one(badEncoding(data))
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return one(ProblemAt(start, "", "the document is empty"))
	} else if err != nil {
		return one(syntaxProblem(data, err))
	}
	if err := dec.Decode(&second); err == nil {
		return one(ProblemAt(&second, "", "a second YAML document starts here: put everything into one"))
	} else if !errors.Is(err, io.EOF) {
		return one(syntaxProblem(data, err))
	}
	root := doc.Content[0]
	w := walker{limits: l}
	if w.walk(root, root, 1); len(w.problems) > 0 {
		return nil, w.problems
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return one(ProblemAt(start, "", "the document is empty"))
	}
	return root, nil
}

// Resolve follows aliases.
func Resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func badEncoding(data []byte) Problem {
	at := yaml.Node{Line: 1, Column: 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if at.Column++; r == '\n' {
			at.Line, at.Column = at.Line+1, 1
		}
		data = data[size:]
	}
	return ProblemAt(&at, "", "the document is not UTF-8 text: save it as UTF-8")
}

// walker visits a tree the way it will be read, aliases followed.
type walker struct {
	limits          Limits
	aliases, values int
	problems        Problems
}

// walk returns false when a limit is broken, and then the walk ends. at is the
// place to name: inside an alias, the alias itself.
func (w *walker) walk(n, at *yaml.Node, depth int) bool {
	stop := func(format string, args ...any) bool {
		w.problems = append(w.problems, ProblemAt(at, "", format, args...))
		return false
	}
	if w.values++; w.values > w.limits.Values {
		return stop("more values than the limit of %d (aliases followed)", w.limits.Values)
	}
	if depth > w.limits.Depth {
		return stop("nested deeper than the limit of %d levels", w.limits.Depth)
	}
	if len(n.Value) > w.limits.ScalarBytes {
		return stop("a value of %d bytes; the limit is %d", len(n.Value), w.limits.ScalarBytes)
	}
	if strings.ContainsRune(n.Value, 0) {
		return stop("the value contains a NUL character")
	}
	if w.limits.NoAnchors && (n.Anchor != "" || n.Kind == yaml.AliasNode || n.Tag == "!!merge") {
		return stop("YAML anchors, aliases, and merge keys are not accepted here: write the value out")
	}
	if n.Kind == yaml.AliasNode {
		if w.aliases++; w.aliases > w.limits.Aliases {
			return stop("more aliases than the limit of %d", w.limits.Aliases)
		}
		return w.walk(n.Alias, at, depth+1)
	}
	for _, child := range n.Content {
		place := at
		if at == n {
			place = child
		}
		if !w.walk(child, place, depth+1) {
			return false
		}
	}
	return true
}
