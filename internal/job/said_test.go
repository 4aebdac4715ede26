package job

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What a program says cannot drive a terminal, and is bounded.
func TestCleanIsOneBoundedLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"disk\nquota\r\n", 100, "disk quota"},
		{"\x1b]0;title\x07\x1b[2Jred", 100, "]0;title [2Jred"},
		{"a\x00b\x9bc\u009bd", 100, "a b\uFFFDc d"},
		{"safe\u202eexe.txt", 100, "safeexe.txt"},
		{"größe 大きい", 100, "größe 大きい"},
		{"abcdef", 5, "ab…"},
		{"aöööö", 7, "aö…"},
		{"", 5, ""},
	} {
		if got := Clean(c.text, c.limit); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[31mb\xff", 8)
	f.Add(strings.Repeat("ö", 100), 31)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(limit%1000, 10)
		got := Clean(text, limit)
		bad := strings.IndexFunc(got, func(r rune) bool { return unicode.IsControl(r) || !unicode.IsGraphic(r) })
		if len(got) > limit || !utf8.ValidString(got) || bad >= 0 {
			t.Errorf("%q, %d: got %q", text, limit, got)
		}
	})
}
