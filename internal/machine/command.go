package machine

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// remoteScript is the machine's half of Run.
//
//go:embed remote.sh
var remoteScript string

// killTimeout is how long a command whose context has ended may take to be
// killed before the call gives up watching it.
const killTimeout = 5 * time.Second

// Run runs a command and waits for it. Its script never shows in the
// machine's list of processes: it travels on standard input.
func (h *sshHost) Run(ctx context.Context, c Command) (Output, error) {
	select {
	case h.sessions <- struct{}{}:
		defer func() { <-h.sessions }()
	case <-ctx.Done():
		return Output{}, ctx.Err()
	}
	client, session, err := h.session(ctx)
	if err != nil {
		return Output{}, err
	}
	defer session.Close()

	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	if c.Stdout != nil {
		session.Stdout = c.Stdout
	}
	in, err := session.StdinPipe()
	if err != nil {
		return Output{}, h.lost(client, c, err)
	}
	if err := session.Start(remoteCommand(h.target.User, len(c.Script))); err != nil {
		return Output{}, h.lost(client, c, err)
	}
	input := newFeed(in, c.Script, c.Stdin)
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()

	select {
	case err = <-ended:
		// What was not sent by now nobody wants.
		return h.result(client, c, err, &stdout, &stderr)
	case err = <-input.failed:
		// The input could not be read: end the command as if it were ours to end.
	case <-ctx.Done():
		err = ctx.Err()
	}
	in.Close() // kills the command: see remote.sh
	select {
	case <-ended:
	case <-time.After(killTimeout):
		session.Close()
	}
	return Output{}, fmt.Errorf("%s: command %s: %w", h.target.Name, c.shown(), err)
}

// session opens a session; where the connection turns out to be lost, on a
// new one.
func (h *sshHost) session(ctx context.Context) (*ssh.Client, *ssh.Session, error) {
	for attempt := 0; ; attempt++ {
		client, err := h.connection(ctx)
		if err != nil {
			return nil, nil, err
		}
		stop := context.AfterFunc(ctx, func() { h.forget(client) })
		session, err := client.NewSession()
		if !stop() {
			return nil, nil, ctx.Err()
		}
		if err == nil {
			return client, session, nil
		}
		if refused := new(ssh.OpenChannelError); errors.As(err, &refused) || attempt > 0 {
			return nil, nil, fmt.Errorf("open a session on machine %q: %w", h.target.Name, err)
		}
		h.forget(client)
	}
}

func (h *sshHost) result(client *ssh.Client, c Command, err error, stdout, stderr *bytes.Buffer) (Output, error) {
	out := Output{Stdout: stdout.String(), Stderr: stderr.String()}
	if err == nil {
		return out, nil
	}
	exit := new(ssh.ExitError)
	if !errors.As(err, &exit) {
		return out, h.lost(client, c, err)
	}
	failure := &CommandError{Host: h.target.Name, Script: c.Script, Code: exit.ExitStatus(),
		Output: tail(out.Stdout, 1<<10) + tail(out.Stderr, 3<<10)}
	if exit.Signal() != "" {
		failure.Code = 255
	}
	if c.Secret {
		failure.Script, failure.Output = "(secret)", ""
	}
	return out, failure
}

// lost is the error of a command whose connection ended under it.
func (h *sshHost) lost(client *ssh.Client, c Command, err error) error {
	h.forget(client)
	if missing := new(ssh.ExitMissingError); errors.As(err, &missing) || errors.Is(err, io.EOF) {
		err = ErrConnectionLost
	} else {
		err = fmt.Errorf("%w: %w", ErrConnectionLost, err)
	}
	return fmt.Errorf("%s: command %s: %w; it may have run in part", h.target.Name, c.shown(), err)
}

// ErrConnectionLost is the cause of an error of a call whose connection to the
// machine ended before the call did. The next call connects anew.
var ErrConnectionLost = errors.New("the connection to the machine was lost")

func (c Command) shown() string {
	if c.Secret {
		return "(secret)"
	}
	first, _, more := strings.Cut(strings.TrimSpace(c.Script), "\n")
	if more {
		first += " …"
	}
	return fmt.Sprintf("%q", first)
}

// remoteCommand is the command line that sshd gives to the user's shell.
func remoteCommand(user string, scriptLength int) string {
	line := fmt.Sprintf("sh -c %s pai %d", Quote(withoutComments(remoteScript)), max(scriptLength, 1))
	if user != "root" {
		return "exec sudo -n " + line
	}
	return "exec " + line
}

// withoutComments leaves out the lines that are only a comment, which would
// make the machine's list of processes hard to read.
func withoutComments(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if l := strings.TrimSpace(line); l != "" && !strings.HasPrefix(l, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// tail returns the last n bytes of s, and says so when that is not all.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "… " + strings.ToValidUTF8(s[len(s)-n:], "")
}
