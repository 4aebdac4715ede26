package machine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/ssh"
)

// Shell is a command or a login shell that the operator runs on a machine. Unlike
// Host.Run it runs as the user of the endpoint and can have a terminal.
type Shell struct {
	Command  string // a login shell if empty
	In       io.Reader
	Out, Err io.Writer
	Terminal *Terminal // none if nil
}

// Terminal is the terminal of the operator.
type Terminal struct {
	Type          string // TERM
	Width, Height int
	Resized       <-chan [2]int // new width and height
}

// Run runs the shell on a machine and returns its exit code.
func (s Shell) Run(ctx context.Context, endpoint Endpoint) (code int, err error) {
	if endpoint, err = endpoint.resolved(ctx); err != nil {
		return 0, err
	}
	client, err := connect(ctx, endpoint)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return 0, fmt.Errorf("open a session on machine %q: %w", endpoint.Name, err)
	}
	session.Stdout, session.Stderr = s.Out, s.Err
	in, err := session.StdinPipe()
	if err != nil {
		return 0, fmt.Errorf("open a session on machine %q: %w", endpoint.Name, err)
	}
	if t := s.Terminal; t != nil {
		if err := session.RequestPty(t.Type, t.Height, t.Width, ssh.TerminalModes{}); err != nil {
			return 0, fmt.Errorf("get a terminal on machine %q: %w", endpoint.Name, err)
		}
	}
	start := session.Shell
	if s.Command != "" {
		start = func() error { return session.Start(s.Command) }
	}
	if err := start(); err != nil {
		return 0, fmt.Errorf("start a shell on machine %q: %w", endpoint.Name, err)
	}
	// The end of the command does not wait for the end of the input.
	go func() {
		_, _ = io.Copy(in, s.In) // an error ends the input
		in.Close()
	}()
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	for {
		select {
		case err := <-ended:
			return exitCode(endpoint, err)
		case size := <-s.resized():
			_ = session.WindowChange(size[1], size[0]) // a wrong size is no reason to end
		case <-ctx.Done():
			_ = session.Signal(ssh.SIGINT) // best effort: the connection ends next
			return 0, ctx.Err()
		}
	}
}

func (s Shell) resized() <-chan [2]int {
	if s.Terminal == nil {
		return nil
	}
	return s.Terminal.Resized
}

func exitCode(endpoint Endpoint, err error) (int, error) {
	exit := new(ssh.ExitError)
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		if exit.Signal() != "" {
			return 255, nil
		}
		return exit.ExitStatus(), nil
	default:
		return 0, fmt.Errorf("%s: %w: %w", endpoint.Name, ErrConnectionLost, err)
	}
}
