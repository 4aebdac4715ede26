package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/keyring"
	"pai.dev/pai/internal/layout"
)

// What a boot writes is what a rotation can change.
func TestKeyOfABootCanBeRotated(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "encryption.yaml")
	script := strings.ReplaceAll(makeEncryptionKey, layout.EncryptionFile, file)
	if out, err := exec.CommandContext(t.Context(), "sh", "-euc", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Parse(data)
	if err != nil || !slices.Equal(ring.Names(), []string{"key1"}) || layout.KeyNumber("key1") != 1 {
		t.Errorf("got the keys %v, %v, want key1", ring.Names(), err)
	}
}

func TestStepOfAKeyIsDone(t *testing.T) {
	t.Parallel()
	const name = "key2-20261129"
	for keys, done := range map[string][]inspect.KeyAction{
		"key1":               {inspect.KeyRemove},
		"key1 " + name:       {inspect.KeyAdd},
		name + " key1":       {inspect.KeyAdd, inspect.KeyUse},
		"key1 key3 " + name:  {inspect.KeyAdd},
		"key2-20261128 key1": {inspect.KeyRemove}, // another one
	} {
		for _, action := range []inspect.KeyAction{inspect.KeyAdd, inspect.KeyUse, inspect.KeyRemove} {
			if got := changed(inspect.Keys{Names: strings.Fields(keys)}, action, name); got != slices.Contains(done, action) {
				t.Errorf("%s of %s in %s: got %t", action, name, keys, got)
			}
		}
	}
}
