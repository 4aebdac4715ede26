package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"pai.dev/pai/internal/pai"
)

// sshHost is a Host over ssh. It has one connection, reconnects when a call finds
// that lost, and has spare ones where sshd allows no further session on it.
type sshHost struct {
	endpoint Endpoint
	sessions chan struct{} // one token per running command
	lock     chan struct{} // one token, which guards client, spare, and closed
	client   *ssh.Client
	spare    []*ssh.Client // connections without a session
	closed   bool
}

// Dial connects to a machine, directly or through the jump host of the ssh
// configuration of the operator. Its host key must be in endpoint.KnownHosts or in
// the known hosts of the operator, which Dial never changes.
func Dial(ctx context.Context, endpoint Endpoint) (Host, error) {
	endpoint, err := endpoint.resolved(ctx)
	if err != nil {
		return nil, err
	}
	h := &sshHost{
		endpoint: endpoint,
		sessions: make(chan struct{}, maxSessions),
		lock:     make(chan struct{}, 1),
	}
	if _, err := h.connection(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *sshHost) Name() string    { return h.endpoint.Name }
func (h *sshHost) Address() string { return h.endpoint.Address }

// Close ends the connection and kills the commands that run.
func (h *sshHost) Close() error {
	h.lock <- struct{}{}
	defer func() { <-h.lock }()
	h.closed = true
	for _, spare := range h.spare {
		spare.Close()
	}
	h.spare = nil
	if h.client == nil {
		return nil
	}
	err := h.client.Close()
	h.client = nil
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// connection returns the connection, and connects if there is none.
func (h *sshHost) connection(ctx context.Context) (*ssh.Client, error) {
	select {
	case h.lock <- struct{}{}:
		defer func() { <-h.lock }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h.closed {
		return nil, fmt.Errorf("%s: %w", h.endpoint.Name, net.ErrClosed)
	}
	if h.client != nil {
		return h.client, nil
	}
	client, err := connect(ctx, h.endpoint)
	if err != nil {
		return nil, err
	}
	h.client = client
	go keepAlive(client)
	go func() {
		_ = client.Wait() // the running commands report the error
		h.drop(client)
	}()
	return client, nil
}

// drop makes the next call reconnect.
func (h *sshHost) drop(client *ssh.Client) {
	client.Close()
	h.lock <- struct{}{}
	if h.client == client {
		h.client = nil
	}
	<-h.lock
}

func connect(ctx context.Context, t Endpoint) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	check, algorithms, err := hostKeys(t)
	if err != nil {
		return nil, err
	}
	login, err := authentication(ctx, t)
	if err != nil {
		return nil, err
	}
	defer login.done()
	client, err := handshake(ctx, t, &ssh.ClientConfig{
		Config:            ssh.Config{Ciphers: ciphers()},
		User:              t.User,
		Auth:              login.methods,
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
	})
	return client, login.explain(t, err)
}

// handshake connects, directly or as the ssh of the operator would.
func handshake(ctx context.Context, t Endpoint, config *ssh.ClientConfig) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	through := t.operator.proxy(t)
	conn, err := t.dial(ctx, through)
	if err != nil {
		return nil, connectError(ctx, t, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, t.HostPort(), config)
	if !stop() || err != nil {
		if p, ok := conn.(*proxied); ok && err != nil && ctx.Err() == nil {
			err = p.proxyError(t, through, err)
		}
		conn.Close()
		return nil, connectError(ctx, t, err)
	}
	return ssh.NewClient(c, channels, requests), nil
}

// dial connects, through a program if there is one.
func (t Endpoint) dial(ctx context.Context, through []string) (net.Conn, error) {
	if through != nil {
		return dialProxied(ctx, t, through)
	}
	return (&net.Dialer{KeepAlive: keepaliveTimeout}).DialContext(ctx, "tcp", t.HostPort())
}

func connectError(ctx context.Context, t Endpoint, err error) error {
	var known *pai.Error
	if errors.As(err, &known) {
		return known
	}
	if ctx.Err() != nil {
		if err == nil {
			err = ctx.Err()
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return fmt.Errorf("connect to machine %q at %s: %w", t.Name, t.HostPort(), context.Canceled)
		}
		err = fmt.Errorf("not responding: %w (%w)", context.DeadlineExceeded, err)
	}
	return pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("check that the machine is up, that sshd runs on it, and that %s can log in as %s", keyName(t), t.User),
		"connect to machine %q at %s: %w", t.Name, t.HostPort(), err)
}

func keyName(t Endpoint) string {
	if t.KeyFile == "" && t.Password != "" {
		return "the password in the configuration"
	}
	if t.KeyFile == "" {
		return "a key in your ssh-agent or of your ssh configuration"
	}
	return "the key " + t.KeyFile
}

// keepAlive closes a connection whose machine is silent for keepaliveTimeout.
func keepAlive(client *ssh.Client) {
	ended := make(chan struct{})
	go func() {
		_ = client.Wait()
		close(ended)
	}()
	tick := time.NewTicker(keepaliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		silent := time.AfterFunc(keepaliveTimeout, func() { _ = client.Close() })
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		silent.Stop()
		if err != nil {
			client.Close()
			return
		}
	}
}
