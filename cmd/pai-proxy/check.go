package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// rules say what the checks of a backend do with it.
type rules int

const (
	// alone: an API server, where only one machine has any. It is removed after `fall` failed
	// checks in a row.
	alone rules = iota
	// redundant: an API server of this machine, where others have some too. One that is slow
	// stays: loaded machines would otherwise remove each other, one after the other. One that
	// answers that it stops is removed at once, and its connections stay.
	redundant
	// remote: the proxy of another machine. The kernel of a machine accepts a connection also
	// under load, so a machine that does not within remoteTimeout, remoteFall times in a row,
	// is dead, and its connections are closed.
	remote
)

// remoteFall is how many connections to another machine fail in a row until it counts as
// dead. One lost packet is one of them.
const remoteFall = 2

// stay is the number of failed checks of a kind that removes nothing.
const stay = 0

// verdict says after how many failed checks like err in a row a usable backend is removed,
// and whether its open connections are then closed.
func (r rules) verdict(err error, t timings) (fall int, cut bool) {
	var answer *notReadyError
	switch {
	case refused(err):
		return 1, false
	case r == remote:
		return remoteFall, true
	case r == alone:
		return t.fall, true
	case errors.As(err, &answer) && answer.stops:
		return 1, false
	case timedOut(err):
		return stay, false
	default:
		return t.fall, true
	}
}

// rise is how many successful checks in a row add a backend again.
func (r rules) rise(t timings) int {
	if r == remote {
		return 1
	}
	return t.rise
}

// refused reports whether no process listened.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// timedOut reports whether an answer did not come in time.
func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// notReadyError is an answer of /readyz other than 200.
type notReadyError struct {
	status string
	stops  bool // the API server was asked to stop, and still serves
}

func (e *notReadyError) Error() string { return "/readyz says " + e.status }

// shutdownFailed is a line of /readyz of an API server that was asked to stop
// (k8s.io/apiserver/pkg/server/healthz.go).
const shutdownFailed = "[-]shutdown failed"

func newCheckClient(serverName string, roots *x509.CertPool, t timings) *http.Client {
	return &http.Client{
		Timeout: t.checkTimeout,
		// Each check opens a new connection, like a new client.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: serverName}},
	}
}

func checkReady(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // a line for each of some dozens of checks
	if err != nil {
		return fmt.Errorf("read the answer of /readyz: %w", err)
	}
	return &notReadyError{resp.Status, strings.Contains(string(body), shutdownFailed)}
}

// checkAccepts checks whether another machine accepts a connection. A TLS handshake of each
// machine with each control plane, twice a second, would be a load of its API servers.
func checkAccepts(ctx context.Context, address string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}
