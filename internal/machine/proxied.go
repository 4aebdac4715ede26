package machine

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
)

// proxied is a connection whose bytes a program passes on.
type proxied struct {
	io.Reader
	in      io.WriteCloser
	cmd     *exec.Cmd
	printed *lastBytes
	to      net.Addr
	close   sync.Once
}

// dialProxied starts the program. It ends with the connection, not with ctx.
func dialProxied(ctx context.Context, t Endpoint, command []string) (net.Conn, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...)
	p := &proxied{cmd: cmd, printed: &lastBytes{limit: 2 << 10}, to: relayAddress(t.HostPort())}
	if address, err := net.ResolveTCPAddr("tcp", t.HostPort()); err == nil {
		p.to = address
	}
	cmd.Stderr = p.printed
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.Reader, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", command[0], err)
	}
	return p, nil
}

// proxyError explains why a connection through a program failed.
func (p *proxied) proxyError(t Endpoint, command []string, err error) error {
	p.Close()
	said := strings.TrimSpace(p.printed.String())
	if said == "" {
		return err
	}
	return pai.Errorf(pai.CodeFailed, fmt.Sprintf("ssh must reach it without questions; to test it, run: ssh -o BatchMode=yes -p %d %s@%s true", t.Port, t.User, t.Address),
		"connect to machine %q at %s through %s: %s", t.Name, t.HostPort(), strings.Join(command, " "), said)
}

func (p *proxied) Write(b []byte) (int, error) { return p.in.Write(b) }

func (p *proxied) Close() error {
	p.close.Do(func() {
		p.in.Close() // ends ssh, which can have something to print
		kill := time.AfterFunc(killTimeout, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait() // what it printed is the reason
		kill.Stop()
	})
	return nil
}

func (p *proxied) LocalAddr() net.Addr              { return relayAddress("proxy") }
func (p *proxied) RemoteAddr() net.Addr             { return p.to }
func (p *proxied) SetDeadline(time.Time) error      { return nil }
func (p *proxied) SetReadDeadline(time.Time) error  { return nil }
func (p *proxied) SetWriteDeadline(time.Time) error { return nil }

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu    sync.Mutex
	text  []byte
	limit int
}

func (l *lastBytes) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	l.text = l.text[max(0, len(l.text)-l.limit):]
	return len(b), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
