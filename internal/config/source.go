package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The limits that a configuration file must keep. They are far above what a
// few hundred machines need, and low enough that no file costs more than a
// moment to refuse.
const (
	maxFileBytes   = 1 << 20
	maxScalarBytes = 4 << 10
	maxDepth       = 16
	maxAliases     = 256
	maxValues      = 50_000 // with aliases followed
)

// fault is a mistake whose place is known but whose file is not.
type fault struct {
	line, column int
	message      string
}

func faultAt(n *yaml.Node, format string, args ...any) fault {
	return fault{max(n.Line, 1), max(n.Column, 1), fmt.Sprintf(format, args...)}
}

// readFile reads a regular file of at most maxFileBytes. It never waits: a
// named pipe is refused before it is opened.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", bareError(err))
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", bareError(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", bareError(err))
	}
	return data, nil
}

// bareError drops the path from an error of package os: the problem names it.
func bareError(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// parse turns a file's bytes into its one mapping. A nil node comes with at
// least one fault.
func parse(data []byte) (*yaml.Node, []fault) {
	if len(data) > maxFileBytes {
		return nil, []fault{{1, 1, fmt.Sprintf("is larger than the limit of %d bytes", maxFileBytes)}}
	}
	if !utf8.Valid(data) {
		return nil, []fault{badEncoding(data)}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, []fault{{1, 1, "is empty"}}
	} else if err != nil {
		return nil, []fault{syntaxFault(err)}
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return nil, []fault{faultAt(&second, "holds a second YAML document: put everything into one")}
	} else if !errors.Is(err, io.EOF) {
		return nil, []fault{syntaxFault(err)}
	}
	root := doc.Content[0]
	if f := limits(root); f != nil {
		return nil, []fault{*f}
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, []fault{{1, 1, "is empty"}}
	}
	return root, nil
}

func badEncoding(data []byte) fault {
	line, column := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return fault{line, column, "is not UTF-8 text: save it as UTF-8"}
}

var yamlErrorLine = regexp.MustCompile(`^(?:line (\d+): )?(.*)$`)

// syntaxFault takes the place out of the parser's message. It is the line on
// which the value that could not be read begins, or none.
func syntaxFault(err error) fault {
	message, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), "\n")
	m := yamlErrorLine.FindStringSubmatch(message)
	line, convErr := strconv.Atoi(m[1])
	if convErr != nil {
		line = 1
	}
	return fault{line, 1, "what begins here is not YAML: " + m[2]}
}

// limits walks a tree the way it will be read, following aliases, and names
// the first limit that it breaks.
func limits(root *yaml.Node) *fault {
	var aliases, values int
	var walk func(n, at *yaml.Node, depth int) *fault
	// at is the place to name: inside an alias, the alias itself.
	walk = func(n, at *yaml.Node, depth int) *fault {
		if values++; values > maxValues {
			f := faultAt(at, "has more than the limit of %d values (aliases followed)", maxValues)
			return &f
		}
		if depth > maxDepth {
			f := faultAt(at, "is nested deeper than the limit of %d levels", maxDepth)
			return &f
		}
		if len(n.Value) > maxScalarBytes {
			f := faultAt(at, "is a value of %d bytes; the limit is %d", len(n.Value), maxScalarBytes)
			return &f
		}
		if n.Kind == yaml.AliasNode {
			if aliases++; aliases > maxAliases {
				f := faultAt(at, "has more than the limit of %d aliases", maxAliases)
				return &f
			}
			return walk(n.Alias, at, depth+1)
		}
		for _, child := range n.Content {
			place := at
			if at == n {
				place = child
			}
			if f := walk(child, place, depth+1); f != nil {
				return f
			}
		}
		return nil
	}
	return walk(root, root, 1)
}
