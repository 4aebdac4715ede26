package inspect_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/keyring"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

const keysOfBoot = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - name: key1
        secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
  - identity: {}
`

// A machine adds, uses, and removes keys. The file is not readable by others, its digest is
// reported, a change that changes nothing leaves it alone, and no report has a key.
func TestKeysOfAMachine(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	if got := ask(t, r, inspect.Keyring); got.Needs(inspect.Keyring) == nil {
		t.Errorf("got %+v of a machine without keys", got.Keyring)
	}
	r.Write(layout.EncryptionFile, keysOfBoot)
	for _, c := range []struct {
		name  string
		do    inspect.KeyAction
		want  string
		fails bool
	}{
		{"key2-20261129", inspect.KeyAdd, "key1 key2-20261129", false},
		{"key2-20261129", inspect.KeyAdd, "key1 key2-20261129", false},
		{"key1", inspect.KeyRemove, "key1 key2-20261129", true},
		{"key3", inspect.KeyUse, "key1 key2-20261129", true},
		{"../key", inspect.KeyAdd, "key1 key2-20261129", true},
		{"key2-20261129", "rename", "key1 key2-20261129", true},
		{"key2-20261129", inspect.KeyUse, "key2-20261129 key1", false},
		{"key1", inspect.KeyRemove, "key2-20261129", false},
		{"key1", inspect.KeyRemove, "key2-20261129", false},
	} {
		before, err := os.Stat(r.At(layout.EncryptionFile))
		if err != nil {
			t.Fatal(err)
		}
		was := strings.Join(ask(t, r, inspect.Keyring).Keyring.Names, " ")
		request := inspect.Request{Parts: []inspect.Part{inspect.Keyring}, Key: &inspect.KeyChange{Name: c.name, Do: c.do}}
		if request.Observes() {
			t.Error("a change of a key needs no lock")
		}
		report := r.Machine().Inspect(t.Context(), request, "self")
		if c.fails != (report.Needs(inspect.Keyring) != nil) {
			t.Errorf("%s %s: got %v", c.do, c.name, report.Problems)
		}
		file, err := os.ReadFile(r.At(layout.EncryptionFile))
		if err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(r.At(layout.EncryptionFile))
		if err != nil {
			t.Fatal(err)
		}
		keys := ask(t, r, inspect.Keyring).Keyring
		if strings.Join(keys.Names, " ") != c.want || keys.Digest != keyring.Digest(file) || report.Keyring != nil && !slices.Equal(report.Keyring.Names, keys.Names) {
			t.Errorf("%s %s: got %+v, reported %+v, want %s", c.do, c.name, keys, report.Keyring, c.want)
		}
		if same := was == c.want; same != os.SameFile(before, after) || !same && after.Mode().Perm() != 0o600 {
			t.Errorf("%s %s: from %s to %s, the file is the same: %t, with mode %s", c.do, c.name, was, c.want, os.SameFile(before, after), after.Mode())
		}
	}
}
