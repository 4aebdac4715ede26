package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
)

// The output of a task reaches a file as it is, a terminal without what drives it, and JSON only
// if JSON can hold it.
func TestOutputOfATaskIsWholeOrRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		output         string
		terminal, json bool
		code           int
		want, errs     string
	}{
		{"a\x1b]0;x\x07\xff\x00\n", false, false, 0, "a\x1b]0;x\x07\xff\x00\n", ""},
		{"a\x1b]0;x\x07\xff\x00\n", true, false, 0, "a^[]0;x^G\uFFFD^@\n", ""},
		{"\x1b[31mred\n", true, false, 0, "\x1b[31mred\n\x1b[0m", ""},
		{"größe\n", false, true, 0, "größe\n", ""},
		{"\x1b[31mred\x00\n", true, true, 0, "\x1b[31mred\x00\n", ""},
		{"a\xff\n", false, true, 3, "", "the output of the task is not text in UTF-8, and JSON would change it"},
		{"a\xff\n", false, true, 3, "", "paictl job logs admin~train"},
	} {
		var out, errs bytes.Buffer
		env := &Env{Console: ui.Console{Out: &out, Err: &errs}, In: strings.NewReader(""), Terminal: c.terminal,
			StateDir: stateOf(t, &oneJob{output: c.output}, "pai"), CacheDir: t.TempDir()}
		args := []string{"job", "logs", "train"}
		if c.json {
			args = append(args, "-o", "json")
		}
		code := Main(t.Context(), env, args)
		got := out.String()
		if c.json && code == 0 {
			var shown struct{ Log string }
			if err := json.Unmarshal(out.Bytes(), &shown); err != nil {
				t.Fatal(err)
			}
			got = shown.Log
		}
		if code != c.code || got != c.want || !strings.Contains(errs.String(), c.errs) {
			t.Errorf("%+v: code %d, got %q, %s", c, code, got, errs.String())
		}
	}
}
