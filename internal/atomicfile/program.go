package atomicfile

import (
	"io"
	"io/fs"
	"syscall"
)

// WriteProgram replaces a file that will be run; see WithoutForks.
func WriteProgram(path string, data []byte, mode fs.FileMode) error {
	s := &Staged{path: path}
	defer s.Discard()
	err := WithoutForks(func() error {
		return s.write(mode, func(w io.Writer) error { _, err := w.Write(data); return err })
	})
	if err != nil {
		return err
	}
	if err := syncPath(s.temporary); err != nil {
		return err
	}
	return s.Commit()
}

// WithoutForks calls write, which opens a file, writes a program into it and
// closes it, while this process starts no command.
//
// A command that another goroutine starts meanwhile would inherit the open
// file until it runs its own program, and a file that is open for writing
// cannot be run: "text file busy" (golang.org/issue/22315). Closing the file
// under the lock is not enough: the kernel lets the starter of a command
// continue a moment before it closes what the command inherited.
//
// Starting commands waits for write, which must therefore not wait for one.
func WithoutForks(write func() error) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return write()
}
