package release

import (
	"os"
	"path/filepath"
)

// BundleDir is the directory of the bundle of a release in a cache.
func BundleDir(cacheDir, release string) string { return filepath.Join(cacheDir, "bundles", release) }

// KeyFile is the file of the operator's signing key in a state directory.
func KeyFile(stateDir string) string { return filepath.Join(stateDir, "keys", "bundle.key") }

// SourceTree finds the source tree of PAI at or above dir. It is empty if dir
// is not in one.
func SourceTree(dir string) string {
	for {
		if _, err := os.Stat(filepath.Join(dir, "releases", "embed.go")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}
