package nspawn

import (
	"os"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/layout"
)

func TestMachineHasADirectoryForJobs(t *testing.T) {
	t.Parallel()
	m := container{dir: t.TempDir()}
	dir := filepath.Join(m.root(), layout.LocalStorage)
	mode := func(name string) os.FileMode {
		t.Helper()
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if err := os.Mkdir(m.root(), 0o755); err != nil { //nolint:gosec // a root file system
		t.Fatal(err)
	}
	for range 2 {
		if err := m.makeStorage(); err != nil {
			t.Fatal(err)
		}
	}
	if got, above, top := mode(dir), mode(filepath.Dir(dir)), mode(filepath.Join(m.root(), "srv")); got.Perm() != 0o777 || above.Perm() != 0o700 || top.Perm()&0o111 == 0 {
		t.Errorf("got modes %s, %s above it, and %s for /srv", got, above, top)
	}
	// What the operator changed, and what jobs wrote, stays.
	if err := os.Chmod(dir, 0o750); err != nil { //nolint:gosec // as an operator would
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "checkpoint"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.makeStorage(); err != nil || mode(dir).Perm() != 0o750 || !mode(filepath.Join(dir, "checkpoint")).IsRegular() {
		t.Errorf("got %v, and the mode %s", err, mode(dir))
	}
}

// A link on the disk of a machine makes no directory on this host.
func TestDirectoryForJobsStaysOnTheMachine(t *testing.T) {
	t.Parallel()
	m, outside := container{dir: t.TempDir()}, t.TempDir()
	if err := os.Mkdir(m.root(), 0o755); err != nil { //nolint:gosec // a root file system
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(m.root(), "srv")); err != nil {
		t.Fatal(err)
	}
	if err := m.makeStorage(); err == nil {
		t.Error("a link out of the disk was followed")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside of the disk: got %v, %v, want nothing", entries, err)
	}
}
