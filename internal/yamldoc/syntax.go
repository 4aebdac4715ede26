package yamldoc

import (
	"bytes"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// syntaxProblem says what is wrong with data that the YAML library refuses
// with err: the line, and the mistake in the words of a person who edits a file.
func syntaxProblem(data []byte, err error) Problem {
	line, message := libraryError(data)
	if message == "" { // not reproduced; the library's own words are all there is
		line, message = 1, strings.TrimPrefix(err.Error(), "yaml: ")
	}
	line = min(line, 1+bytes.Count(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))) // the end of the data is on the last one
	for _, t := range translations() {
		if !strings.HasPrefix(message, t.message) {
			continue
		}
		if t.atEnd {
			line = firstLineWith(data, message)
		}
		message = t.text(message, lineAt(data, line))
		return ProblemAt(&yaml.Node{Line: line, Column: 1}, "", "%s", message)
	}
	return ProblemAt(&yaml.Node{Line: line, Column: 1}, "", "invalid YAML: %s", message)
}

var libraryLine = regexp.MustCompile(`^line (\d+): (.*)$`)

// libraryError parses data again and returns the line and the message of the
// library. Its line is that of the construct around the mistake. It counts from
// 0 or from 1, and is left out on the first line; with a line in front of the
// data it is never on the first.
func libraryError(data []byte) (line int, message string) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	dec := yaml.NewDecoder(bytes.NewReader(append([]byte("\n"), data...)))
	var err error
	for err == nil {
		err = dec.Decode(&yaml.Node{})
	}
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	m := libraryLine.FindStringSubmatch(message)
	if m == nil {
		return 1, strings.TrimPrefix(message, "EOF")
	}
	line, _ = strconv.Atoi(m[1])
	if !slices.ContainsFunc(parserMessages(), func(p string) bool { return strings.HasPrefix(m[2], p) }) {
		line-- // the scanner counts from 1
	}
	return max(line, 1), m[2]
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

// firstLineWith is the line that completes the mistake: the last one of the
// shortest beginning of data that the library refuses with the same message.
func firstLineWith(data []byte, message string) int {
	var ends []int // of the lines
	for i, b := range data {
		if b == '\n' || i == len(data)-1 {
			ends = append(ends, i+1)
		}
	}
	return 1 + sort.Search(len(ends)-1, func(i int) bool {
		_, m := libraryError(data[:ends[i]])
		return m == message
	})
}

func lineAt(data []byte, line int) string {
	lines := strings.Split(string(data), "\n")
	return strings.TrimRight(lines[min(line, len(lines))-1], "\r")
}
