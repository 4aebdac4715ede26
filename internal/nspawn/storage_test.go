package nspawn

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

// An existing directory keeps its mode, so a directory must never be there with another one: a kill
// would keep it. The kernel reports how each name appears. What a killed call left is used.
func TestDirectoryForJobsAppearsWithItsMode(t *testing.T) {
	t.Parallel()
	m := container{dir: t.TempDir()}
	dir := filepath.Join(m.root(), layout.LocalStorage)
	above := filepath.Dir(dir)
	if err := errors.Join(os.MkdirAll(above, 0o700), os.Mkdir(dir+".new", 0o700)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, above, unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	if err := m.makeStorage(); err != nil {
		t.Fatal(err)
	}
	events := make([]byte, 4096)
	n, err := unix.Read(fd, events)
	if err != nil {
		t.Fatal(err)
	}
	// One event: the name was moved there.
	mask, name := binary.NativeEndian.Uint32(events[4:]), strings.TrimRight(string(events[unix.SizeofInotifyEvent:n]), "\x00")
	if mask&unix.IN_MOVED_TO == 0 || name != "default" {
		t.Errorf("got events %x of %q, want that the directory was moved there", mask, name)
	}
	info, err := os.Lstat(dir)
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("got %v, %v", info, err)
	}
	if entries, err := os.ReadDir(above); err != nil || len(entries) != 1 {
		t.Errorf("above it are %v, %v, want the directory alone", entries, err)
	}
}

// A machine whose cluster has no storage there can have any disk, such as one where /srv is a link.
func TestMachinesWithoutAStorageGetNoDirectory(t *testing.T) {
	t.Parallel()
	for _, storage := range []bool{false, true} {
		m := container{name: "pai-1", dir: t.TempDir()}
		if err := errors.Join(os.Mkdir(m.root(), 0o700), os.Symlink("/data", filepath.Join(m.root(), "srv"))); err != nil {
			t.Fatal(err)
		}
		if err := (Local{StateDir: m.dir, Storage: storage}).makeStorages([]container{m}); (err != nil) != storage {
			t.Errorf("with a storage: %t: got %v", storage, err)
		}
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
