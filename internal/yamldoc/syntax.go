package yamldoc

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// syntaxProblem says what is wrong with data that the YAML library refuses
// with err: the line, and the mistake in the words of a person who edits a file.
func syntaxProblem(data []byte, err error) Problem {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// The library leaves out line 1, so it gets an empty line before the data.
	e := libraryError(append([]byte("\n"), data...))
	if e.message == "" { // not reproduced; the words of the library are all there is
		e.message = strings.TrimPrefix(err.Error(), "yaml: ")
	}
	line := min(max(e.line-1, 1), countLines(data)) // the end of the data is on the last line
	text := "invalid YAML: " + e.message
	for _, t := range translations() {
		if strings.HasPrefix(e.message, t.message) {
			if t.locate != nil {
				line = t.locate(data, line, e.message)
			}
			text = t.text(e.message, lineAt(data, line))
			break
		}
	}
	return ProblemAt(&yaml.Node{Line: line, Column: 1}, "", "%s", text)
}

// errorAt is an error of the library. Its line is that of the construct around
// the mistake or, if that is line 1, of the mistake itself.
type errorAt struct {
	line    int // from 1
	message string
}

var libraryLine = regexp.MustCompile(`^line (\d+): (.*)$`)

func libraryError(data []byte) errorAt {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var err error
	for err == nil {
		err = dec.Decode(&yaml.Node{})
	}
	message := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "EOF")
	m := libraryLine.FindStringSubmatch(message)
	if m == nil {
		return errorAt{1, message}
	}
	line, _ := strconv.Atoi(m[1])
	if slices.ContainsFunc(parserMessages(), func(p string) bool { return strings.HasPrefix(m[2], p) }) {
		line++ // the parser counts from 0, the scanner from 1
	}
	return errorAt{line, m[2]}
}

// parserMessages begin the messages of the library's parser; the scanner has
// the others.
func parserMessages() []string {
	return []string{
		"did not find expected <", "did not find expected node content", "did not find expected '-' indicator",
		"did not find expected key", "did not find expected ',' or", "found undefined tag handle",
		"found duplicate %", "found incompatible YAML document",
	}
}

var alias = regexp.MustCompile(`(?m)(^|[\s\[{,])\*([-\w]+)`)

// mistakeLine is the line of a mistake in the construct that starts on a line.
// The library returns it for a text that starts with the construct.
func mistakeLine(data []byte, start int, message string) int {
	lines := bytes.SplitAfterN(data, []byte("\n"), start)
	// The anchors of aliases can be in the lines before.
	text := alias.ReplaceAll(lines[len(lines)-1], []byte(`${1}"${2}"`))
	if e := libraryError(text); e.message == message {
		return min(start+e.line-1, countLines(data))
	}
	return start
}

// aliasLine is the first line with the alias that a message quotes. If there are
// several, that can be a comment.
func aliasLine(data []byte, start int, message string) int {
	before, _, found := bytes.Cut(data, []byte("*"+quotedName(message)))
	if !found {
		return start
	}
	return 1 + bytes.Count(before, []byte("\n"))
}

// controlLine is the first line with a control character.
func controlLine(data []byte, _ int, _ string) int {
	i := bytes.IndexFunc(data, func(r rune) bool {
		return r < ' ' && !strings.ContainsRune("\t\r\n", r) || r >= 0x7f && r < 0xa0 && r != 0x85 || r == 0xfffe || r == 0xffff
	})
	return 1 + bytes.Count(data[:max(i, 0)], []byte("\n"))
}

// countLines is how many lines a text has, with the last one if it is empty.
func countLines(data []byte) int {
	return 1 + bytes.Count(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
}

func lineAt(data []byte, line int) string {
	lines := strings.SplitN(string(data), "\n", line+1)
	return strings.TrimRight(lines[min(line, len(lines))-1], "\r")
}
