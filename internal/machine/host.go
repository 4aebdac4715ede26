package machine

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
)

// Host is a Linux machine with systemd. If the context of a call ends, the remote
// command is killed and the call returns the error of the context. A Host is
// safe for concurrent use and reconnects when necessary.
type Host interface {
	// Name is the name of the machine in the configuration.
	Name() string
	// Address is the address for the other machines.
	Address() string
	// Run runs a command and waits for it. The error is a *CommandError if the
	// exit code is not 0. Its output has nothing that sshd or a login shell prints.
	Run(ctx context.Context, c Command) (Output, error)
	// ReadFile returns the content of a file, or fs.ErrNotExist.
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// WriteFile replaces a file atomically (temporary file, sync, rename), and
	// creates its directory. No reader sees a partial file or a wider mode.
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// CreateFile creates a file atomically, or returns fs.ErrExist.
	CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// AppendFile adds data, at most 1 MiB, to the end of a file and syncs it. It
	// creates the file with mode 0600, and its directory. After an error, a part
	// of the data can be there.
	AppendFile(ctx context.Context, path string, data []byte) error
	// Remove removes a file, if it exists.
	Remove(ctx context.Context, path string) error
	// ReadDir lists the names in a directory, sorted; empty if it does not exist.
	ReadDir(ctx context.Context, path string) ([]string, error)
	// Dial connects to an address from the machine.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Close ends the connection and kills the commands that run.
	Close() error
}

// Command is a shell script to run on a machine, as root.
type Command struct {
	// Script is run by /bin/sh with "set -eu". It can create the directory
	// $SCRATCH, or make $SCRATCH a link to a directory on disk. Both are removed
	// when the script ends or is killed.
	Script string
	// Stdin can be nil.
	Stdin io.Reader
	// Bulk is set for megabytes of input. They take a separate connection, so that
	// other commands stay quick on a slow line.
	Bulk bool
	// Stdout receives the output at once, instead of Output.Stdout.
	Stdout io.Writer
	// Secret keeps the script and its output out of errors and logs.
	Secret bool
}

// Output is what a command printed.
type Output struct {
	Stdout string
	Stderr string
}

// CommandError is a command with an exit code other than 0.
type CommandError struct {
	Host   string
	Script string
	Code   int    // 255 if the command was killed
	Output string // the end of its output, standard error last
}

func (e *CommandError) Error() string {
	script := strings.TrimSpace(e.Script)
	if first, _, more := strings.Cut(script, "\n"); more {
		script = first + " …"
	}
	msg := fmt.Sprintf("%s: command %q ended with code %d", e.Host, script, e.Code)
	if out := strings.TrimSpace(e.Output); out != "" {
		msg += ": " + out
	}
	return msg
}

// Quote quotes a word for /bin/sh.
func Quote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
