package inspect

import (
	"os"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/layout"
)

func TestPartialCopiesCountAsFree(t *testing.T) {
	t.Parallel()
	i := &inspection{Machine: Machine{Root: t.TempDir()}}
	dir := i.at(layout.VersionDir("v0.10-pai.new") + "/bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kubelet"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if size, err := i.partialCopies(); err != nil || size < 1<<20 || size > 2<<20 {
		t.Errorf("got %d bytes, %v, want the size of the copy", size, err)
	}
	c := Condition{Disks: []Disk{{Dir: "a", Mount: "/", Free: 1}, {Dir: "b", Mount: "/data", Free: 1}, {Dir: "c", Mount: "/", Free: 1}}}
	c.addFree(50)
	if c.Disks[0].Free != 51 || c.Disks[1].Free != 1 || c.Disks[2].Free != 51 {
		t.Errorf("got %+v, want more space on the file system of the programs", c.Disks)
	}
}
