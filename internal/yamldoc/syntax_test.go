package yamldoc

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func limits() Limits {
	return Limits{Bytes: 1 << 16, Depth: 8, ScalarBytes: 1 << 10, Values: 1000, Aliases: 16}
}

// Files as people break them; comments in front move the place by whole lines.
func TestParseBrokenSyntaxReportsPlaceInPlainWords(t *testing.T) {
	t.Parallel()
	const list, mapping = "the list that [ opens here is not closed, or a comma is missing in it", "the mapping that { opens here is not closed, or a comma is missing in it"
	const key, item = "wrong indentation: this line belongs to no key above it", "wrong indentation: this line belongs to no list item above it"
	const colon, escape, tab = "unexpected colon: quote a value with a colon in it, or fix the indentation", `invalid escape sequence in double quotes: write \\ for a backslash, or use single quotes`, "indentation with a tab: use spaces"
	for _, c := range []struct {
		name, text string
		line       int
		want       string
	}{
		{"key indented less than its siblings", "a:\n    b: 1\n    c: 2\n  d: 3\n", 4, key},
		{"key indented less, deep in a file", "x: 1\na:\n  b:\n    c: 1\n   d: 2\ne: 3\n", 5, key},
		{"key indented less, after aliases", "x: &x {b: 1}\na:\n    <<: *x\n    c: [*x, *x]\n  d: 3\n", 5, key},
		{"key indented less, in a list item", "a:\n  - b:\n      c: 1\n     d: 2\n", 4, key},
		{"list item among keys", "a: 1\nb: 2\n- c\n", 3, key},
		{"key indented less than a list item", "machine-list:\n  - hostname: a\n   hostip: b\n", 3, item},
		{"text after double quotes", "a: 1\nb: \"x\" y\n", 2, "unexpected text after a closing quote: put the whole value in quotes"},
		{"apostrophe in single quotes", "a: 1\nb: 'it's'\nc: 2\n", 2, "unexpected text after a closing quote: put the whole value in quotes"},
		{"unclosed list", "a: 1\nb: [1, 2\nc: 3\n", 2, list},
		{"unclosed list on the first line", "a: [1, 2\n", 1, list},
		{"list without a comma", "a: 1\nb: [{} {}]\n", 2, list},
		{"unclosed mapping", "a: 1\nb: {c: 1\n", 2, mapping},
		{"unclosed mapping on the first line", "kubernetes: {version: v0.10-pai\n", 1, mapping},
		{"closing bracket only", "a: 1\nb: ]\n", 2, "a value is missing, a bracket is not closed, or a value needs quotes"},
		{"nothing after an opening bracket", "a: 1\nb: [\n", 2, "a value is missing, a bracket is not closed, or a value needs quotes"},
		{"text after the document", "{a: 1}\nb: 2\n", 2, "unexpected text after the end of the YAML document"},
		{"line without a colon", "a: 1\nb\nc: 2\n", 2, "this line is not KEY: VALUE, the colon is missing"},
		{"colon in a value", "a: 1\nb: c: d\n", 2, colon},
		{"key below a value", "a: 1\n  b: 2\n", 2, colon},
		{"question mark", "a: 1\nb: ? c\n", 2, "unexpected question mark: quote a value that starts with one"},
		{"list item behind its key", "a: 1\nb: - c\n", 2, "unexpected list item: start it on its own line below its key"},
		{"tab as indentation", "a:\n\tb: 1\n", 2, tab},
		{"tab as indentation of a second key", "a:\n  b: 1\n\tc: 2\n", 3, tab},
		{"tab in a block text", "a: |\n\t x\n", 2, tab},
		{"at sign", "a: 1\nb: @home\n", 2, "a value that starts with @, % or ` needs quotes"},
		{"unclosed double quote", "a: 1\nb: \"x\nc: 2\n", 2, "the quote that opens here is not closed"},
		{"unclosed single quote", "b: 'x\nc: 2\n", 1, "the quote that opens here is not closed"},
		{"unclosed quote before a document", "a: 1\nb: \"x\n---\nc: 2\n", 2, "the quote that opens here is not closed"},
		{"backslash in double quotes", "a: 1\nb: \"C:\\path\"\n", 2, escape},
		{"half an escape sequence", "a: 1\nb: \"\\x1\"\n", 2, escape},
		{"surrogate", "a: 1\nb: \"\\uD800\"\n", 2, escape},
		{"text behind a block sign", "a: 1\nb: |text\n", 2, "text after | or > must start on the next line"},
		{"tag of a template", "a: 1\nb: !x!y z\n", 2, "unknown tag: quote a value that starts with an exclamation mark"},
		{"percent sign", "%name\n", 1, "a line that starts with % is a YAML directive: quote the text"},
		{"alias without its anchor", "a: 1\nb: *x\nc: 1\n", 2, "alias *x has no anchor &x above it"},
		{"control character", "a: 1\nb: x\x01y\n", 2, "the line contains a control character"},
		{"unknown message", "%YAML 1.1\n%YAML 1.1\n---\na: 1\n", 2, "invalid YAML: found duplicate %YAML directive"},
		{"abyss", strings.Repeat("[", 20_000), 1, "nested too deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			texts := map[int]string{0: c.text}
			if !strings.HasPrefix(c.text, "%") {
				texts[1], texts[3] = "# one\n"+c.text, "# one\n\n# three\n"+c.text
			}
			for before, text := range texts {
				root, problems := Parse([]byte(text), limits())
				if root != nil || len(problems) != 1 {
					t.Fatalf("got %v, want one problem", problems)
				}
				if p := problems[0]; p.Line != before+c.line || p.Column != 1 || p.Message != c.want {
					t.Errorf("got %v, want %d:1: %s", p, before+c.line, c.want)
				}
			}
		})
	}
}

// The line of a mistake is the last one of the shortest beginning of the text
// that the library refuses with the same message.
func TestMistakeLineMatchesShortestBeginning(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.Custom(func(t *rapid.T) string {
			what := rapid.SampledFrom([]string{"a: 1", "b:", "- c", "- d: 1", "- - e", "# f", "", "g: &x h", "i: *x", "j: 'k'"}).Draw(t, "what")
			return strings.Repeat(" ", rapid.IntRange(0, 5).Draw(t, "indentation")) + what + "\n"
		})
		lines := append([]string{"a: &x 1\n"}, rapid.SliceOfN(line, 1, 12).Draw(t, "lines")...)
		_, problems := Parse([]byte(strings.Join(lines, "")), limits())
		message := libraryError([]byte("\n" + strings.Join(lines, ""))).message
		if !strings.HasPrefix(message, "did not find expected key") && !strings.HasPrefix(message, "did not find expected '-'") {
			return
		}
		want := 1
		for libraryError([]byte("\n"+strings.Join(lines[:want], ""))).message != message {
			want++
		}
		if problems[0].Line != want {
			t.Fatalf("got %v, want line %d:\n%s", problems[0], want, strings.Join(lines, ""))
		}
	})
}

// Whatever is broken, there is one problem with a place inside the text.
func TestParseReportsPlaceInsideText(t *testing.T) {
	t.Parallel()
	pieces := []string{"a", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "'", "\"", "#", "&a ", "*a", "!", "|", ">", "\t", "%", "@", "?", "\\", "---\n", "...\n", "\ufeff", "<<"}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 40).Draw(t, "pieces"), "")
		root, problems := Parse([]byte(text), limits())
		if (root == nil) != (len(problems) > 0) {
			t.Fatalf("root %v, problems %v", root, problems)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > 1+strings.Count(text, "\n") || p.Column < 1 || p.Message == "" {
				t.Fatalf("%+v", p)
			}
		}
	})
}
