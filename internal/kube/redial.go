package kube

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"pai.dev/pai/internal/poll"
)

const (
	// redialFor is how long a refused connection is tried again: many times what systemd needs
	// to start the proxy of the API again on a busy machine.
	redialFor = time.Second
	// redialEvery is the pause between two attempts.
	redialEvery = 10 * time.Millisecond
)

// DialFunc connects to an address.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Redial returns dial with a second chance for refused connections, for up to one second:
// when the proxy of the API has crashed, nothing listens on its address until systemd has
// started it again. A connection that was refused carried nothing, so nothing is
// repeated. All other errors are returned at once.
func Redial(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for started := time.Now(); ; {
			conn, err := dial(ctx, network, address)
			if !errors.Is(err, syscall.ECONNREFUSED) || time.Since(started) > redialFor {
				return conn, err
			}
			if wait := poll.Sleep(ctx, redialEvery); wait != nil {
				return nil, errors.Join(wait, err)
			}
		}
	}
}
