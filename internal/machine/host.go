package machine

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
)

// Host is one Linux machine with systemd. Every call honours its context:
// when it ends, the remote command is killed and the call returns the
// context's error. A Host is safe for concurrent use and reconnects by itself.
type Host interface {
	// Name is the machine's name in the configuration.
	Name() string
	// Address is the address that other machines reach it at.
	Address() string
	// Run runs a command and waits for it. A command that ends with another
	// code than 0 is a *CommandError.
	Run(ctx context.Context, c Command) (Output, error)
	// ReadFile returns a file's content; fs.ErrNotExist when there is none.
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// WriteFile replaces a file atomically (temporary file beside it, synced,
	// renamed), making its folder when it is missing. Nobody sees half a file,
	// or one with a wider mode than asked for.
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// CreateFile writes a file that must not exist yet; fs.ErrExist otherwise.
	// It appears with its whole content or not at all.
	CreateFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// Remove removes a file; one that is not there is no error.
	Remove(ctx context.Context, path string) error
	// ReadDir lists the names in a folder, sorted; empty when there is none.
	ReadDir(ctx context.Context, path string) ([]string, error)
	// Dial connects to an address as seen from the machine.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Close ends the connection; commands still running are killed.
	Close() error
}

// Command is a shell script to run on a machine, as root.
type Command struct {
	// Script is run by /bin/sh with "set -eu" in front of it. $SCRATCH names a
	// folder that it may make; nothing is left of it once the script has ended,
	// or was killed because the connection ended.
	Script string
	// Stdin may be nil.
	Stdin io.Reader
	// Stdout receives standard output as it comes, instead of Output.Stdout.
	Stdout io.Writer
	// Secret keeps the script and its output out of errors and logs.
	Secret bool
}

// Output is what a command printed.
type Output struct {
	Stdout string
	Stderr string
}

// CommandError is a command that ended with another code than 0.
type CommandError struct {
	Host   string
	Script string
	Code   int    // 255 when the command was killed
	Output string // the end of what it printed, standard error last
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
