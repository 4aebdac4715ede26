package configtest

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
)

// Root is a directory for the many small ones of a test. It is in memory if
// possible, because files in it are synced to the disk.
func Root(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "pai-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Write puts the files of a case into a new directory below root.
func (c Case) Write(t *rapid.T, root string) string {
	parent, err := os.MkdirTemp(root, "")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "lab")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range c.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// BeforeAndAfter loads a case, upgrades it to the newest schema and a release,
// and loads it again.
func (c Case) BeforeAndAfter(t *rapid.T, root string, to pai.Pair) (before, after *config.Config) {
	dir := c.Write(t, root)
	before, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	u, err := config.Upgrade(dir, config.MigrationTarget{Pair: to})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(); err != nil {
		t.Fatal(err)
	}
	if after, err = config.Load(dir); err != nil {
		t.Fatal(err)
	}
	return before, after
}
