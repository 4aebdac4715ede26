package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/crypto/ssh"
)

// Dial connects to an address from the machine, through a session if sshd forbids
// to forward connections.
func (h *sshHost) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	client, err := h.connection(ctx)
	if err != nil {
		return nil, err
	}
	remote, err := client.DialContext(ctx, network, address)
	if refused := new(ssh.OpenChannelError); errors.As(err, &refused) && refused.Reason == ssh.Prohibited && network == "tcp" {
		remote, err = h.relay(ctx, address, err)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("connect from machine %q to %s: %w", h.endpoint.Name, address, err)
	}
	return newTunnel(remote), nil
}

// tunnel adds deadlines to a connection through ssh. TLS relies on them.
type tunnel struct {
	net.Conn // one end of a pipe, which has deadlines
	remote   net.Conn
}

func newTunnel(remote net.Conn) net.Conn {
	near, far := net.Pipe()
	copyAll := func(to io.WriteCloser, from io.Reader, also io.Closer) {
		_, _ = io.Copy(to, from) // both ends are closed, whatever the error
		to.Close()
		also.Close()
	}
	go copyAll(far, remote, remote)
	go copyAll(remote, far, far)
	return &tunnel{Conn: near, remote: remote}
}

func (t *tunnel) LocalAddr() net.Addr  { return t.remote.LocalAddr() }
func (t *tunnel) RemoteAddr() net.Addr { return t.remote.RemoteAddr() }
