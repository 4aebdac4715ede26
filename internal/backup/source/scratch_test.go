package source_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/backup/source"
)

// A snapshot that would fill the disk of etcd is not taken, and neither is one of a
// database whose size is unknown.
func TestSnapshotLeavesSpaceForEtcd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		size int64 // of a sparse file; negative for none
		want string
	}{
		{"a small database", 1 << 20, ""},
		{"a database larger than the disk", 8 << 40, "MiB free"},
		{"no database", -1, "No such file"},
	} {
		dir := t.TempDir()
		database := filepath.Join(dir, "db")
		if c.size >= 0 {
			err := os.WriteFile(database, nil, 0o600)
			if err == nil {
				err = os.Truncate(database, c.size)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/bin/sh", "-euc", source.EnoughSpace(database, "."))
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if (err == nil) != (c.want == "") || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: got %v: %s, want %q", c.name, err, out, c.want)
		}
	}
}
