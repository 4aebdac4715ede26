package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/pai"
)

func TestHostKeysAreConfirmedOnce(t *testing.T) {
	t.Parallel()
	fresh := []string{"  10.0.0.1  ssh-ed25519  SHA256:abc", "  10.0.0.2  ssh-ed25519  SHA256:def"}
	for _, test := range []struct {
		name        string
		fresh       []string
		in          string
		interactive bool
		accept      bool
		want        pai.Code
	}{
		{"all known", nil, "", false, false, ""},
		{"no terminal", fresh, "", false, false, pai.CodeRefused},
		{"accepted by a flag", fresh, "", false, true, ""},
		{"yes", fresh, "y\n", true, false, ""},
		{"no", fresh, "\n", true, false, pai.CodeRefused},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var printed bytes.Buffer
			env := &Env{Console: ui.Console{Out: &printed, Err: &printed}, In: strings.NewReader(test.in), Interactive: test.interactive}
			err := env.acceptHostKeys(test.fresh, hostKeyFlags{accept: test.accept})
			if (err != nil) != (test.want != "") || err != nil && pai.CodeOf(err) != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
			for _, line := range test.fresh {
				if !strings.Contains(printed.String(), line) {
					t.Errorf("got %q without %q", printed.String(), line)
				}
			}
		})
	}
}

func TestHostKeysAreAddedOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "clusters", "x", "known_hosts")
	for _, lines := range [][]string{{"a k1"}, {"a k1", "b k2"}, {"b k2"}, nil} {
		if err := addLines(file, lines); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || string(data) != "a k1\nb k2\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("got %q, %v, %v", data, err, statErr)
	}
}
