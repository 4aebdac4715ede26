package storageprobe

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// What users of a storage put in the place of the file is left as it is, and stops no probe.
func TestNamedFileLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	long := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name string
		put  func(place, outside string) error
		left bool
	}{
		{"nothing", func(string, string) error { return nil }, false},
		{"the file of a probe that was killed", func(place, _ string) error {
			return errors.Join(os.WriteFile(place, nil, 0o600), os.Chtimes(place, long, long))
		}, false},
		{"the file of a probe that runs", func(place, _ string) error { return os.WriteFile(place, nil, 0o600) }, true},
		{"a file of a user", func(place, _ string) error {
			return errors.Join(os.WriteFile(place, []byte("data"), 0o600), os.Chtimes(place, long, long))
		}, true},
		{"a link to a file outside", func(place, outside string) error { return os.Symlink(outside, place) }, true},
		{"a link to nothing", func(place, outside string) error { return os.Symlink(outside+".absent", place) }, true},
		{"a directory", func(place, _ string) error { return os.Mkdir(place, 0o700) }, true},
		{"a named pipe", func(place, _ string) error { return syscall.Mkfifo(place, 0o600) }, true},
	} {
		dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
		if err := errors.Join(os.WriteFile(outside, []byte("as it was"), 0o600), os.Chtimes(outside, long, long), c.put(filepath.Join(dir, scratchName), outside)); err != nil {
			t.Fatal(err)
		}
		d, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		fd, err := namedFile(int(d.Fd()))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		f := os.NewFile(uintptr(fd), dir)
		if _, err := f.WriteString("probe"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		want := []string(nil)
		if c.left {
			want = []string{scratchName}
		}
		if got := namesIn(t, dir); !slices.Equal(got, want) {
			t.Errorf("%s: the directory has %q, want %q", c.name, got, want)
		}
		if data, err := os.ReadFile(outside); err != nil || string(data) != "as it was" {
			t.Errorf("%s: a file outside has %q, %v", c.name, data, err)
		}
		if _, err := os.Stat(outside + ".absent"); err == nil {
			t.Errorf("%s: a file outside was made", c.name)
		}
		_ = errors.Join(f.Close(), d.Close())
	}
}
