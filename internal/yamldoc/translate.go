package yamldoc

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// translation gives a message of the YAML library in plain words.
type translation struct {
	message string // how it begins
	// locate returns the line of the mistake from that of the construct around
	// it; nil if the construct is the place to report.
	locate func(data []byte, start int, message string) int
	// text takes the whole message and the line at the place.
	text func(message, line string) string
}

func translations() []translation {
	const (
		escape    = `invalid escape sequence in double quotes: write \\ for a backslash, or use single quotes`
		unclosed  = "the quote that opens here is not closed"
		tab       = "indentation with a tab: use spaces"
		directive = `a line that starts with % is a YAML directive: quote the text`
		header    = "text after | or > must start on the next line"
	)
	return []translation{
		{"did not find expected key", mistakeLine, indentation("wrong indentation: this line belongs to no key above it")},
		{"did not find expected '-' indicator", mistakeLine, indentation("wrong indentation: this line belongs to no list item above it")},
		{"did not find expected ',' or ']'", nil, always("the list that [ opens here is not closed, or a comma is missing in it")},
		{"did not find expected ',' or '}'", nil, always("the mapping that { opens here is not closed, or a comma is missing in it")},
		{"did not find expected node content", nil, always("a value is missing, a bracket is not closed, or a value needs quotes")},
		{"did not find expected <document start>", nil, always("unexpected text after the end of the YAML document")},
		{"could not find expected ':'", nil, always("this line is not KEY: VALUE, the colon is missing")},
		{"mapping values are not allowed", nil, always("unexpected colon: quote a value with a colon in it, or fix the indentation")},
		{"mapping keys are not allowed", nil, always("unexpected question mark: quote a value that starts with one")},
		{"block sequence entries are not allowed", nil, always("unexpected list item: start it on its own line below its key")},
		{"found character that cannot start any token", nil, tokenStart(tab)},
		{"found a tab character", mistakeLine, always(tab)},
		{"found unexpected end of stream", nil, always(unclosed)},
		{"found unexpected document indicator", nil, always(unclosed)},
		{"found unknown escape character", nil, always(escape)},
		{"did not find expected hexdecimal number", nil, always(escape)},
		{"found invalid Unicode character escape code", nil, always(escape)},
		{"did not find expected comment or line break", nil, always(header)},
		{"found an indentation indicator equal to 0", nil, always(header)},
		{"found undefined tag handle", nil, always("unknown tag: quote a value that starts with an exclamation mark")},
		{"found unknown directive name", nil, always(directive)},
		{"could not find expected directive name", nil, always(directive)},
		{"unknown anchor", aliasLine, missingAnchor},
		{"exceeded max depth", nil, always("nested too deeply")},
		{"control characters are not allowed", controlLine, always("the line contains a control character")},
	}
}

func always(text string) func(message, line string) string {
	return func(string, string) string { return text }
}

// indentation distinguishes a line in the wrong place from one that is wrong by
// itself, such as  name: "a" b.
func indentation(text string) func(message, line string) string {
	return func(_, line string) string {
		line = strings.TrimSpace(line)
		if yaml.Unmarshal([]byte(line), &yaml.Node{}) != nil && strings.ContainsAny(line, `"'`) {
			return "unexpected text after a closing quote: put the whole value in quotes"
		}
		return text
	}
}

// tokenStart distinguishes a tab in the indentation from a value such as @name.
func tokenStart(tab string) func(message, line string) string {
	return func(_, line string) string {
		if indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]; strings.Contains(indent, "\t") {
			return tab
		}
		return "a value that starts with @, % or ` needs quotes"
	}
}

func missingAnchor(message, _ string) string {
	name := Shorten(quotedName(message))
	return "alias *" + name + " has no anchor &" + name + " above it"
}

// quotedName is the name that a message has in single quotes.
func quotedName(message string) string {
	_, rest, _ := strings.Cut(message, "'")
	name, _, _ := strings.Cut(rest, "'")
	return name
}
