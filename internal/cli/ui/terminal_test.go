package ui

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// shownOf is what a terminal gets of a text that arrives in pieces of some bytes.
func shownOf(t *testing.T, text string, piece int) string {
	t.Helper()
	var out bytes.Buffer
	terminal := NewTerminal(&out)
	for len(text) > 0 {
		n := min(piece, len(text))
		if written, err := io.WriteString(terminal, text[:n]); err != nil || written != n {
			t.Fatalf("wrote %d of %d, %v", written, n, err)
		}
		text = text[n:]
	}
	if err := terminal.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A hostile job drives no terminal, wherever its output is cut; text and colors pass.
func TestTerminalGetsTextAndColorsOnly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"step 1\r\nloss\t0.5\n":                  "step 1\r\nloss\t0.5\n",
		"größe 大きい 🙂":                            "größe 大きい 🙂",
		"\x1b[31mred\x1b[0m \x1b[38;2;1:2m ":     "\x1b[31mred\x1b[0m \x1b[38;2;1:2m \x1b[0m",
		"\x1b[m":                                 "\x1b[m\x1b[0m",
		"\x1b]0;title\x07":                       "^[]0;title^G",
		"\x1b[2J\x1b[H":                          "^[[2J^[[H",
		"\x1b[>4;2m":                             "^[[>4;2m",
		"\x1bP+q\x1b\\":                          "^[P+q^[\\",
		"\x1b\x1b[1mx":                           "^[\x1b[1mx\x1b[0m",
		"a\x00b\bc\x7f\x0e":                      "a^@b^Hc^?^N",
		"\u009b2J\x9b2J":                         "\uFFFD2J\uFFFD2J",
		"\xff\xc3":                               "\uFFFD\uFFFD",
		"end\x1b[31":                             "end^[[31",
		"\x1b[" + strings.Repeat("1;", 50) + "m": "^[[" + strings.Repeat("1;", 50) + "m",
	} {
		for piece := 1; piece <= len(text); piece++ {
			if got := shownOf(t, text, piece); got != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", text, piece, got, want)
			}
		}
	}
}

// What cannot be held back without end is written.
func TestTerminalHoldsLittle(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	terminal := NewTerminal(&out)
	for range 1000 {
		if _, err := io.WriteString(terminal, "\x1b[1;1;1;1;1"); err != nil || len(terminal.rest) >= maxColors {
			t.Fatalf("%d bytes are held, %v", len(terminal.rest), err)
		}
	}
	failing := NewTerminal(writer(func([]byte) (int, error) { return 0, iotest.ErrTimeout }))
	if n, err := io.WriteString(failing, "a"); n != 0 || !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("got %d, %v", n, err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

var (
	colors  = regexp.MustCompile("\x1b\\[[0-9;:]*m")
	control = regexp.MustCompile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u0080-\u009f]")
)

func FuzzTerminal(f *testing.F) {
	f.Add("\x1b[31mred\x1b]0;x\x07", 3)
	f.Add("\x9b\xc2\x9b", 1)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		got := shownOf(t, text, max(piece%100, 1))
		if left := colors.ReplaceAllString(got, ""); !utf8.ValidString(got) || control.MatchString(left) {
			t.Errorf("%q: got %q", text, got)
		}
	})
}
