package machine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

func TestDialChecksHostKey(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	good, err := os.ReadFile(sshd.endpoint.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	other := writeKey(t, filepath.Join(t.TempDir(), "other"))
	address := fmt.Sprintf("[127.0.0.1]:%d", sshd.endpoint.Port)
	tests := []struct {
		name, known string
		want        string // part of the error; empty: connected
	}{
		{"known", string(good), ""},
		{"known among others", knownhosts.Line([]string{"10.1.1.1"}, other) + "\n" + string(good), ""},
		{"changed", "# a comment\n" + knownhosts.Line([]string{address}, other) + "\n", "has changed"},
		{"unknown", knownhosts.Line([]string{"10.1.1.1"}, other) + "\n", "is not in"},
		{"other port", knownhosts.Line([]string{"127.0.0.1"}, other) + "\n", "is not in"},
		{"empty", "", "is not in"},
		{"revoked", "@revoked * " + strings.TrimSpace(strings.SplitN(string(good), " ", 2)[1]) + "\n" + string(good), "revoked"},
		{"not a file of host keys", "nonsense\n", "known hosts file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			endpoint := sshd.endpoint
			endpoint.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
			write(t, endpoint.KnownHosts, tt.known)
			host, err := machine.Dial(t.Context(), endpoint)
			if err == nil {
				host.Close()
			}
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if tt.name != "changed" {
				return
			}
			failure := new(pai.Error)
			if !errors.As(err, &failure) || !strings.Contains(failure.Next, "line 2 of "+endpoint.KnownHosts) {
				t.Errorf("got %+v, want a hint with the line", failure)
			}
		})
	}
}

func TestDialErrorNamesCause(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never responds
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	foreign := filepath.Join(t.TempDir(), "foreign")
	key := writeKey(t, foreign)

	t.Run("key not accepted", func(t *testing.T) {
		endpoint := sshd.endpoint
		endpoint.KeyFile = foreign
		_, err := machine.Dial(t.Context(), endpoint)
		failure := new(pai.Error)
		if !errors.As(err, &failure) || !strings.Contains(failure.Next, foreign) {
			t.Errorf("got %v, want a hint with the key", err)
		}
	})
	t.Run("no key file", func(t *testing.T) {
		endpoint := sshd.endpoint
		endpoint.KeyFile = "/no/such/key"
		if _, err := machine.Dial(t.Context(), endpoint); err == nil || !strings.Contains(err.Error(), "/no/such/key") {
			t.Errorf("got %v, want the name of the key file", err)
		}
	})
	t.Run("not responding", func(t *testing.T) {
		endpoint := sshd.endpoint
		endpoint.Port = silent.Addr().(*net.TCPAddr).Port
		endpoint.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
		write(t, endpoint.KnownHosts, knownhosts.Line([]string{fmt.Sprintf("[127.0.0.1]:%d", endpoint.Port)}, key)+"\n")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := machine.Dial(ctx, endpoint); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	host := sshd.dial(t)
	for range 3 {
		lines, out := io.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := host.Run(t.Context(), machine.Command{Script: "echo started; sleep 1000", Stdout: out})
			done <- err
		}()
		if _, err := fmt.Fscanln(lines, new(string)); err != nil {
			t.Fatal(err)
		}
		sshd.killConnections(t)
		if err := <-done; !errors.Is(err, machine.ErrConnectionLost) || !strings.Contains(err.Error(), "m1") {
			t.Errorf("got %v for the running command, want ErrConnectionLost", err)
		}
		if _, err := host.Run(t.Context(), machine.Command{Script: "true"}); err != nil {
			t.Errorf("got %v for the next command, want none", err)
		}
	}
	// The connection is lost while no command runs.
	sshd.killConnections(t)
	if _, err := host.Run(t.Context(), machine.Command{Script: "true"}); err != nil {
		t.Errorf("got %v after a loss without commands, want none", err)
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	if _, err := host.Run(t.Context(), machine.Command{Script: "true"}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v after Close, want net.ErrClosed", err)
	}
}

func TestTunnel(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	conn, err := host.Dial(t.Context(), "tcp", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, word := range []string{"hello", "again"} {
		if _, err := io.WriteString(conn, word); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
			t.Fatalf("got %q (%v), want %q", got, err, word)
		}
		// A deadline that passes ends one read, not the connection.
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := conn.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v reading nothing, want the deadline", err)
		}
		conn.SetReadDeadline(time.Time{})
	}
	if _, err := host.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v for a closed port, want an error with its address", err)
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	run := func(s machine.Shell) (string, int) {
		var out strings.Builder
		s.Out, s.Err = &out, &out
		if s.In == nil {
			in, feed := io.Pipe() // an input that never ends
			defer feed.Close()
			s.In = in
		}
		code, err := s.Run(t.Context(), sshd.endpoint)
		if err != nil {
			t.Fatal(err)
		}
		return out.String(), code
	}
	if out, code := run(machine.Shell{Command: "echo hi; exit 7"}); out != "hi\n" || code != 7 {
		t.Errorf("got %q and code %d", out, code)
	}
	if out, code := run(machine.Shell{Command: "cat", In: strings.NewReader("input")}); out != "input" || code != 0 {
		t.Errorf("got %q and code %d", out, code)
	}
	terminal := &machine.Terminal{Type: "xterm", Width: 91, Height: 33}
	if out, code := run(machine.Shell{Command: "stty size; tty >/dev/null", Terminal: terminal}); out != "33 91\r\n" || code != 0 {
		t.Errorf("got %q and code %d", out, code)
	}
}
