package cli

import (
	"strings"
	"testing"
)

// cobra runs `paictl __complete ARG… WORD` for a shell.
func TestCompletions(t *testing.T) {
	t.Parallel()
	state := stateWith(t, "pai")
	for _, c := range []struct {
		args       []string
		want, none string
	}{
		{[]string{"upgrade", "apply", "--to", ""}, "v0.10\n", ""},
		{[]string{"release", "build", "v0.9", ""}, "v0.10\n", ""},
		{[]string{"release", "show", "v0.9", ""}, "", "v0.10"},
		{[]string{"service", "stop", ""}, "kueue\n", ""},
		{[]string{"service", "start", "--skip", ""}, "prometheus\n", ""},
		{[]string{"service", "delete", "kueue", ""}, "", "prometheus"},
		{[]string{"check", "--skip-check", ""}, "machine-disk\t", ""},
		{[]string{"config", "check", "-o", ""}, "json\n", ""},
		{[]string{"job", "show", ""}, "admin~train\tRUNNING\n", ""},
		{[]string{"job", "show", "--cluster-id", "elsewhere", ""}, "", "train"},
		{[]string{"machine", "shell", "-p", "nowhere", ""}, "", "gpu"},
		{[]string{"completion", ""}, "zsh\t", ""},
	} {
		code, out, errs := paictl(t, state, "", append([]string{"__complete"}, c.args...)...)
		if code != 0 || !strings.Contains(out, c.want) || c.none != "" && strings.Contains(out, c.none) {
			t.Errorf("%v: code %d, got %q, want %q without %q\n%s", c.args, code, out, c.want, c.none, errs)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, errs := paictl(t, t.TempDir(), "", "completion", shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("%s: got code %d and a script of %d bytes: %s", shell, code, len(out), errs)
		}
	}
}
