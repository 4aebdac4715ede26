package release

import (
	"os"
	"testing"
)

// FuzzManifest reads the manifest of a bundle, and its notes.
func FuzzManifest(f *testing.F) {
	for _, file := range []string{"../../releases/v0.11/release.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("apiVersion: pai.dev/v1\nkind: Release\nmetadata: {name: v0.1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := parseManifest(data); err == nil && m.Metadata.Name == "" {
			t.Error("a manifest without a name is valid")
		}
		_, _ = parseNotes("v0.11", data)
	})
}
