package nspawn

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A file descriptor of the caller of paictl, such as that of a lock, is not
// passed to the programs that a machine runs.
func TestInheritedFilesAreClosedOnExec(t *testing.T) {
	path := t.TempDir() + "/lock"
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD, 20) // without close-on-exec, as a shell's 9> gives it
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	open := func() bool {
		out, err := exec.Command("ls", "-l", "/proc/self/fd").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(out), path)
	}
	if !open() {
		t.Fatal("got no inherited descriptor, want one for this test")
	}
	if err := closeInheritedOnExec(); err != nil {
		t.Fatal(err)
	}
	if open() {
		t.Error("got the descriptor in a program, want it closed")
	}
}
