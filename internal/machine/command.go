package machine

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/pai"
)

// remoteScript is the half of Run on the machine.
//
//go:embed remote.sh
var remoteScript string

// killTimeout limits each way of killing a command whose context has ended.
const killTimeout = time.Second

// Run runs a command and waits for it. The script is sent on standard input, so
// the process list of the machine never shows it.
func (h *sshHost) Run(ctx context.Context, c Command) (Output, error) {
	if err := fence.Check(ctx); err != nil {
		return Output{}, fmt.Errorf("%s: command %s was not started: %w", h.endpoint.Name, c.shown(), err)
	}
	begin := rand.Text()
	stdout, stderr := newScriptOutput(begin, c.Stdout), newScriptOutput(begin, nil)
	remote, err := h.start(ctx, c, begin, stdout, stderr)
	if err != nil {
		return Output{}, err
	}
	input := newFeed(remote.in, c.Script, c.Stdin)
	defer input.stop()
	select {
	case err = <-remote.ended: // the command does not need the rest of its input
		if !ended(err) {
			fence.Unended(ctx)
		}
		return h.result(remote.client, c, err, stdout, stderr)
	case err = <-input.failed: // a partial input must not look complete
	case <-ctx.Done():
		err = ctx.Err()
	}
	if !h.kill(context.WithoutCancel(ctx), remote, input) {
		fence.Unended(ctx)
	}
	return Output{}, fmt.Errorf("%s: command %s: %w", h.endpoint.Name, c.shown(), err)
}

// remoteCommand is a command that runs on a machine.
type remoteCommand struct {
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	mark    string // in the arguments of remoteScript
	ended   chan error
}

// ended reports whether the result of a command says that it has ended. Without an exit code,
// its connection was lost, and sshd might not know it.
func ended(err error) bool {
	return err == nil || errors.As(err, new(*ssh.ExitError))
}

// kill ends the command and waits for its end, and reports whether it has ended for
// sure. Closing the channel ends it, but a channel cannot be closed while the machine
// does not read what is written to it. Then kill signals its processes.
func (h *sshHost) kill(ctx context.Context, r remoteCommand, input *feed) bool {
	input.stop()
	for _, next := range []func(){
		func() { h.killMarked(ctx, r) },
		func() { _ = r.session.Close() }, // the last resort
		func() {},
	} {
		select {
		case err := <-r.ended:
			return ended(err)
		case <-time.After(killTimeout):
			next()
		}
	}
	return false
}

// killMarked signals the processes of a command, which it finds by their mark.
func (h *sshHost) killMarked(ctx context.Context, r remoteCommand) {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	client, session, err := h.session(ctx, false)
	if err != nil {
		return // the connection is lost, which also ends the command
	}
	defer h.release(client)
	defer session.Close()
	timeout := time.AfterFunc(killTimeout, func() { _ = session.Close() })
	defer timeout.Stop()
	// The brackets keep grep from finding its own command line.
	script := fmt.Sprintf(`for p in $(grep -lsa '[%s]%s' /proc/[0-9]*/cmdline); do p=${p#/proc/}; kill -s TERM "${p%%/cmdline}"; done`, r.mark[:1], r.mark[1:])
	_ = session.Run(asRoot(h.endpoint.User, "sh -c "+Quote(script))) // the end of the command shows the result
}

// start starts a command. It returns when ctx ends, even while ssh waits, and
// does not affect other commands on the connection.
func (h *sshHost) start(ctx context.Context, c Command, begin string, stdout, stderr io.Writer) (remoteCommand, error) {
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
		r, err := h.startNow(ctx, c, begin, stdout, stderr)
		select {
		case started <- result{remote: r, err: err}:
		case <-abandoned: // before it received its script
			if err == nil {
				r.in.Close()
			}
		}
		// sshd counts a session until its command has ended.
		if err == nil {
			r.ended <- r.session.Wait()
			r.session.Close()
			h.release(r.client)
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

func (h *sshHost) startNow(ctx context.Context, c Command, begin string, stdout, stderr io.Writer) (remoteCommand, error) {
	client, session, err := h.session(ctx, c.Bulk)
	if err != nil {
		return remoteCommand{}, err
	}
	// It can have waited long for the session.
	if err := fence.Check(ctx); err != nil {
		session.Close()
		h.release(client)
		return remoteCommand{}, fmt.Errorf("%s: command %s was not started: %w", h.endpoint.Name, c.shown(), err)
	}
	session.Stdout, session.Stderr = stdout, stderr
	mark := marked(ctx, rand.Text())
	in, err := session.StdinPipe()
	if err == nil {
		err = session.Start(remoteLine(h.endpoint.User, c, mark, begin))
	}
	if err != nil {
		session.Close()
		return remoteCommand{}, h.lost(client, c, err)
	}
	return remoteCommand{client: client, session: session, in: in, mark: mark, ended: make(chan error, 1)}, nil
}

func (h *sshHost) result(client *ssh.Client, c Command, err error, stdout, stderr *scriptOutput) (Output, error) {
	out := Output{Stdout: stdout.text.String(), Stderr: stderr.text.String()}
	switch {
	case err == nil && (stdout.text.more || stderr.text.more):
		return Output{}, fmt.Errorf("%s: command %s printed more than %d MiB", h.endpoint.Name, c.shown(), textLimit>>20)
	case err == nil && stdout.began && stderr.began:
		return out, nil
	case err == nil: // nothing ran
		return out, pai.Errorf(pai.CodeFailed, "give the user "+h.endpoint.User+" of the machine a login shell that runs commands, and remove a ForceCommand of its sshd",
			"%s: command %s did not run; sshd or the login shell ran something else: %s",
			h.endpoint.Name, c.shown(), strings.TrimSpace(string(stdout.before)+"\n"+string(stderr.before)))
	}
	exit := new(ssh.ExitError)
	if !errors.As(err, &exit) {
		return out, h.lost(client, c, err)
	}
	failure := &CommandError{Host: h.endpoint.Name, Script: c.Script, Code: exit.ExitStatus(),
		Output: strings.TrimSuffix(Tail(out.Stdout, 1<<10), "\n") + "\n" + Tail(out.Stderr, 3<<10)}
	if !stdout.began { // what was printed is why
		failure.Output = string(stdout.before) + string(stderr.before)
	}
	if exit.Signal() != "" {
		failure.Code = 255
	}
	if c.Secret {
		failure.Script, failure.Output = "(secret)", ""
	}
	return out, failure
}

// lost is the error of a command whose connection ended.
func (h *sshHost) lost(client *ssh.Client, c Command, err error) error {
	h.drop(client)
	if missing := new(ssh.ExitMissingError); errors.As(err, &missing) || errors.Is(err, io.EOF) {
		err = ErrConnectionLost
	} else {
		err = fmt.Errorf("%w: %w", ErrConnectionLost, err)
	}
	return fmt.Errorf("%s: command %s: %w; it might have run partially", h.endpoint.Name, c.shown(), err)
}

// ErrConnectionLost is in the chain of the error of a call whose connection ended
// first. The next call reconnects.
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

// ProxyVariables are the variables that name a proxy. What PAI runs on a machine
// speaks to the cluster, which no proxy reaches.
const ProxyVariables = "http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY"

// remoteLine is the command line that sshd passes to the shell of the user.
func remoteLine(user string, c Command, mark, begin string) string {
	watch := "''"
	if c.Stdin != nil {
		watch = "$PPID" // the process of sshd for this connection
	}
	half := len(begin) / 2
	return asRoot(user, fmt.Sprintf("sh -c %s pai-%s %d %s %s %s", Quote("unset "+ProxyVariables+"\n"+withoutComments(remoteScript)), mark, max(len(c.Script), 1), watch, begin[:half], begin[half:]))
}

func asRoot(user, line string) string {
	if user != "root" {
		return "exec sudo -n " + line
	}
	return "exec " + line
}

// withoutComments removes comment lines, which make the process list of the
// machine hard to read.
func withoutComments(script string) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if l := strings.TrimSpace(line); l != "" && !strings.HasPrefix(l, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Tail returns the last n bytes of s, after an ellipsis if s is longer.
func Tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "… " + strings.ToValidUTF8(s[len(s)-n:], "")
}
