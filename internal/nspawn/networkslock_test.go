package nspawn

import (
	"os"
	"path/filepath"
	"testing"
)

// No other user of the host can hold the lock for networks, or put a link in its place.
func TestLockOfNetworksIsOnlyForRoot(t *testing.T) {
	t.Parallel()
	for dir := filepath.Dir(networksLock); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if os.IsNotExist(err) {
			continue // the lock makes it, with 0755
		}
		if err != nil || info.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s: got %v, %v, want a directory that only its owner writes to", dir, info.Mode(), err)
		}
	}
}
