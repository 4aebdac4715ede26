//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
)

// configuration is the content of a folder beside the local cluster's
// configuration, by file.
func (o *operator) configuration(folder string) map[string]string {
	o.t.Helper()
	dir := filepath.Join(o.state, "clusters/local", folder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		o.t.Fatal(err)
	}
	content := map[string]string{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			o.t.Fatal(err)
		}
		content[e.Name()] = string(data)
	}
	return content
}
