package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestRedialTriesOnlyRefusedConnectionsAgain(t *testing.T) {
	t.Parallel()
	refused, other := fmt.Errorf("dial: %w", syscall.ECONNREFUSED), errors.New("no route to host")
	for _, c := range []struct {
		name     string
		failing  time.Duration // in which connections fail
		err      error
		want     error
		atLeast  int
		atMost   int
		canceled bool
	}{
		{"accepted", 0, refused, nil, 1, 1, false},
		{"refused for a moment", 300 * time.Millisecond, refused, nil, 2, 40, false},
		{"refused for long", time.Hour, refused, refused, 50, 110, false},
		{"another error", time.Hour, other, other, 1, 1, false},
		{"the caller has left", time.Hour, refused, context.Canceled, 1, 30, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.canceled {
				time.AfterFunc(200*time.Millisecond, cancel)
			}
			began, dials := time.Now(), 0
			client, server := net.Pipe()
			defer server.Close()
			defer client.Close()
			conn, err := Redial(func(context.Context, string, string) (net.Conn, error) {
				if dials++; time.Since(began) < c.failing {
					return nil, c.err
				}
				return client, nil
			})(ctx, "tcp", "10.96.0.1:443")
			if !errors.Is(err, c.want) || (err == nil) != (conn != nil) || dials < c.atLeast || dials > c.atMost {
				t.Errorf("%s: got %v after %d attempts, want %v", c.name, err, dials, c.want)
			}
			if took := time.Since(began); took > 1100*time.Millisecond {
				t.Errorf("%s: took %s", c.name, took)
			}
		})
	}
}
