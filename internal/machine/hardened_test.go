package machine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/machine"
)

// hardened are settings of sshd from guides for hardening.
var hardened = map[string]string{
	"one session":                "MaxSessions 1\n",
	"no forwarding":              "AllowTcpForwarding no\n",
	"one session, no forwarding": "MaxSessions 1\nDisableForwarding yes\n",
	"a greeting":                 "Banner /etc/hostname\nPrintMotd yes\n",
}

func TestHardenedSSHDRunsParallelCommands(t *testing.T) {
	t.Parallel()
	for name, lines := range hardened {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startSSHDWith(t, lines).dial(t)
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					out, err := h.Run(t.Context(), machine.Command{Script: fmt.Sprintf("sleep 0.3; echo %d; cat", i), Stdin: strings.NewReader("x"), Bulk: i%4 == 0})
					if want := fmt.Sprintf("%d\nx", i); err != nil || out.Stdout != want {
						t.Errorf("got %q, %v, want %q", out.Stdout, err, want)
					}
				})
			}
			wg.Wait()
			// A command that is canceled leaves the host usable.
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := h.Run(ctx, machine.Command{Script: "sleep 100"}); err == nil {
				t.Error("got no error from a canceled command")
			}
			if _, err := h.Run(t.Context(), machine.Command{Script: "true"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// The component answers at once, so a connection that ends early loses bytes.
func TestHardenedSSHDConnects(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				ask := make([]byte, 6)
				if _, err := io.ReadFull(conn, ask); err == nil {
					_, _ = conn.Write(bytes.Repeat(ask, 100_000))
				}
			}()
		}
	}()
	for name, lines := range hardened {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startSSHDWith(t, lines).dial(t)
			conn, err := h.Dial(t.Context(), "tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("\x00\xffab\r\n")); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, bytes.Repeat([]byte("\x00\xffab\r\n"), 100_000)) {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
			if _, err := h.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("got %v where nothing listens, want a refused connection", err)
			}
			// A connection whose other end is silent can be closed.
			silent, err := h.Dial(t.Context(), "tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if err := silent.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, err := silent.Read(make([]byte, 1)); err == nil {
				t.Error("got no timeout")
			}
			silent.Close()
		})
	}
}

func TestSSHDWithoutSessionsIsNamed(t *testing.T) {
	t.Parallel()
	h := startSSHDWith(t, "MaxSessions 0\n").dial(t)
	if _, err := h.Run(t.Context(), machine.Command{Script: "true"}); err == nil || !strings.Contains(err.Error(), "refuses every session") {
		t.Errorf("got %v, want sshd to be named", err)
	}
}

func TestCommandsRunWithoutAProxy(t *testing.T) {
	t.Parallel()
	h := startSSHDWith(t, "SetEnv https_proxy=http://127.0.0.1:9 HTTP_PROXY=http://127.0.0.1:9 LANG=C\n").dial(t)
	out, err := h.Run(t.Context(), machine.Command{Script: "env"})
	if err != nil || strings.Contains(strings.ToLower(out.Stdout), "proxy") || !strings.Contains(out.Stdout, "LANG=C") {
		t.Errorf("got %q, %v, want an environment without a proxy", out.Stdout, err)
	}
}
