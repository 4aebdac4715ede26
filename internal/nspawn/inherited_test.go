package nspawn

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A descriptor that the caller gave to paictl, such as that of a lock, is not
// passed on to what runs for as long as a machine does.
func TestKeepInherited(t *testing.T) {
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
		t.Fatal("this test looks at the wrong thing: nothing is inherited")
	}
	if err := keepInherited(); err != nil {
		t.Fatal(err)
	}
	if open() {
		t.Error("a program has what its caller's caller had open")
	}
}
