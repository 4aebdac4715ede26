package config

import (
	"errors"
	"strings"
	"testing"
)

// What ends a line for YAML and not for an editor makes the numbers of lines wrong, so
// such a file is written again from its tree.
func TestOtherLineBreaksAreNotEditedInPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		err  error
	}{
		"lines":               {"a: 1\nb: 2\n", nil},
		"lines of Windows":    {"a: 1\r\nb: 2\r\n", nil},
		"carriage returns":    {"a: 1\rb: 2\n", errForm},
		"two of them":         {"a: 1\r\r\nb: 2\r\n", errForm},
		"next line":           {"a: 1\u0085b: 2\n", errForm},
		"line separator":      {"a: 1\u2028b: 2\n", errForm},
		"paragraph separator": {"a: 1\u2029b: 2\n", errForm},
	} {
		d, err := newDocument([]byte(c.text))
		if !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", name, err, c.err)
		}
		if err == nil && len(d.lines) != strings.Count(c.text, "\n") {
			t.Errorf("%s: got %d lines", name, len(d.lines))
		}
	}
}
