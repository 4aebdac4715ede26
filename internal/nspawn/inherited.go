package nspawn

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepInherited marks everything that this process was given open, besides its
// standard input and output, to be closed in the programs that it starts. A
// machine outlives the command that boots it: a lock or a pipe of the caller's
// that it kept open would stay held, and read, for as long as it runs.
func keepInherited() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list what is open: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
