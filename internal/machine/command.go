package machine

import (
	"bytes"
	"context"
	"crypto/rand"
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
// killed by one means before the next is tried, or the call no longer waits.
const killTimeout = time.Second

// busyTimeout is how long to wait for a session on a machine that lets us
// have fewer at a time than maxSessions.
const busyTimeout = time.Minute

// Run runs a command and waits for it. Its script never shows in the
// machine's list of processes: it travels on standard input.
func (h *sshHost) Run(ctx context.Context, c Command) (Output, error) {
	var stdout, stderr bytes.Buffer
	remote, err := h.start(ctx, c, &stdout, &stderr)
	if err != nil {
		return Output{}, err
	}
	input := newFeed(remote.in, c.Script, c.Stdin)
	defer input.stop()
	select {
	case err = <-remote.ended: // input that was not sent by now nobody wants
		return h.result(remote.client, c, err, &stdout, &stderr)
	case err = <-input.failed: // half an input must not look like a whole one
	case <-ctx.Done():
		err = ctx.Err()
	}
	h.kill(remote, input)
	return Output{}, fmt.Errorf("%s: command %s: %w", h.endpoint.Name, c.shown(), err)
}

// remoteCommand is one under way.
type remoteCommand struct {
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	mark    string // in the arguments of the machine's half
	ended   chan error
}

// kill ends the command and waits until it has ended. The end of the channel
// does that, but a channel cannot be closed while the machine does not take
// what is being written to it; then its processes are looked for.
func (h *sshHost) kill(r remoteCommand, input *feed) {
	input.stop()
	for _, next := range []func(){
		func() { h.killMarked(r) },
		func() { _ = r.session.Close() }, // ended or not, nothing more can be done
		func() {},
	} {
		select {
		case <-r.ended: //nolint:errcheck // how it ended is of no interest to who ended it
			return
		case <-time.After(killTimeout):
			next()
		}
	}
}

// killMarked signals the machine's half of a command, found by its mark.
func (h *sshHost) killMarked(r remoteCommand) {
	session, err := r.client.NewSession()
	if err != nil {
		return // the connection is lost, which ends the command, too
	}
	defer session.Close()
	timeout := time.AfterFunc(killTimeout, func() { _ = session.Close() })
	defer timeout.Stop()
	// Not by name and not by number alone: only what carries the mark. The
	// brackets keep this very line from being found.
	script := fmt.Sprintf(`for p in $(grep -lsa '[%s]%s' /proc/[0-9]*/cmdline); do p=${p#/proc/}; kill -s TERM "${p%%/cmdline}"; done`, r.mark[:1], r.mark[1:])
	_ = session.Run(asRoot(h.endpoint.User, "sh -c "+Quote(script))) // what it did shows in the command's end
}

// start starts a command. Whatever ssh waits for on the way, it returns when
// ctx ends, without disturbing other commands on the same connection.
func (h *sshHost) start(ctx context.Context, c Command, stdout, stderr io.Writer) (remoteCommand, error) {
	select {
	case h.sessions <- struct{}{}:
	case <-ctx.Done():
		return remoteCommand{}, ctx.Err()
	}
	type result struct {
		remote remoteCommand
		err    error
	}
	started := make(chan result)
	abandoned := make(chan struct{})
	go func() {
		defer func() { <-h.sessions }()
		r, err := h.startNow(ctx, c, stdout, stderr)
		select {
		case started <- result{remote: r, err: err}:
		case <-abandoned: // before it was given its script
			if err == nil {
				r.in.Close()
			}
		}
		// sshd counts a session until its command has ended, and so do we.
		if err == nil {
			r.ended <- r.session.Wait()
			r.session.Close()
		}
	}()
	select {
	case r := <-started:
		return r.remote, r.err
	case <-ctx.Done():
		close(abandoned)
		return remoteCommand{}, fmt.Errorf("%s: command %s: %w", h.endpoint.Name, c.shown(), ctx.Err())
	}
}

func (h *sshHost) startNow(ctx context.Context, c Command, stdout, stderr io.Writer) (remoteCommand, error) {
	client, session, err := h.session(ctx)
	if err != nil {
		return remoteCommand{}, err
	}
	session.Stdout, session.Stderr = stdout, stderr
	if c.Stdout != nil {
		session.Stdout = c.Stdout
	}
	mark := rand.Text()
	in, err := session.StdinPipe()
	if err == nil {
		err = session.Start(remoteLine(h.endpoint.User, c, mark))
	}
	if err != nil {
		session.Close()
		return remoteCommand{}, h.lost(client, c, err)
	}
	return remoteCommand{client: client, session: session, in: in, mark: mark, ended: make(chan error, 1)}, nil
}

// session opens a session: on a new connection where the old one turns out to
// be lost, and later where the machine has too many for now.
func (h *sshHost) session(ctx context.Context) (*ssh.Client, *ssh.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	lost := false
	for {
		client, err := h.connection(ctx)
		if err != nil {
			return nil, nil, err
		}
		session, err := client.NewSession()
		if err == nil {
			return client, session, nil
		}
		refused := errors.As(err, new(*ssh.OpenChannelError))
		if !refused {
			h.forget(client)
			if lost {
				return nil, nil, fmt.Errorf("open a session on machine %q: %w", h.endpoint.Name, err)
			}
			lost = true
			continue
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("open a session on machine %q: %w", h.endpoint.Name, err)
		case <-time.After(100 * time.Millisecond):
		}
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
	failure := &CommandError{Host: h.endpoint.Name, Script: c.Script, Code: exit.ExitStatus(),
		Output: strings.TrimSuffix(Tail(out.Stdout, 1<<10), "\n") + "\n" + Tail(out.Stderr, 3<<10)}
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
	return fmt.Errorf("%s: command %s: %w; it may have run in part", h.endpoint.Name, c.shown(), err)
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

// remoteLine is the command line that sshd gives to the user's shell.
func remoteLine(user string, c Command, mark string) string {
	watch := "''"
	if c.Stdin != nil {
		watch = "$PPID" // sshd's process for this connection
	}
	return asRoot(user, fmt.Sprintf("sh -c %s pai-%s %d %s", Quote(withoutComments(remoteScript)), mark, max(len(c.Script), 1), watch))
}

func asRoot(user, line string) string {
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
func Tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "… " + strings.ToValidUTF8(s[len(s)-n:], "")
}
