package session

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// One control-plane machine can be without power, or restart: a connection to the API goes to
// another one.
func TestConnectionsToTheAPIGoToAnotherMachine(t *testing.T) {
	t.Parallel()
	const accepts, refuses, silent = "accepts", "refuses", "silent"
	for name, test := range map[string]struct {
		machines map[string]string
		want     string
		took     time.Duration
		err      string
	}{
		"the first":              {map[string]string{"a": accepts, "b": accepts, "c": accepts}, "a", 0, ""},
		"it refuses":             {map[string]string{"a": refuses, "b": accepts, "c": accepts}, "b", 0, ""},
		"it has no power":        {map[string]string{"a": silent, "b": accepts, "c": accepts}, "b", dialStagger, ""},
		"two have no power":      {map[string]string{"a": silent, "b": silent, "c": accepts}, "c", 2 * dialStagger, ""},
		"none is there":          {map[string]string{"a": refuses, "b": refuses, "c": refuses}, "", 0, "a refuses"},
		"the others have none":   {map[string]string{"a": refuses, "b": silent, "c": silent}, "", 5 * time.Second, "a refuses"},
		"only one, and it fails": {map[string]string{"a": refuses}, "", 0, "a refuses"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var others []string
				for _, m := range []string{"a", "b", "c"} {
					if test.machines[m] != "" {
						others = append(others, m)
					}
				}
				dial := dialAny(func(ctx context.Context, _, address string) (net.Conn, error) {
					switch test.machines[address] {
					case accepts:
						return namedConn{name: address, close: func() {}}, nil
					case refuses:
						return nil, errors.New(address + " refuses")
					}
					ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
					defer cancel()
					<-ctx.Done()
					return nil, errors.New(address + " is silent")
				}, others, dialStagger)
				start := time.Now()
				conn, err := dial(t.Context(), "tcp", "a")
				took := time.Since(start)
				switch {
				case test.err != "":
					if err == nil || !strings.Contains(err.Error(), test.err) || took > test.took {
						t.Errorf("got %v after %s, want %q within %s", err, took, test.err, test.took)
					}
				case err != nil:
					t.Error(err)
				case conn.(namedConn).name != test.want || took != test.took:
					t.Errorf("got %s after %s, want %s after %s", conn.(namedConn).name, took, test.want, test.took)
				}
			})
		})
	}
}

// A connection that comes too late is closed.
func TestLateConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		closed := 0
		dial := dialAny(func(_ context.Context, _, address string) (net.Conn, error) {
			if address == "slow" {
				time.Sleep(time.Second)
			}
			return namedConn{name: address, close: func() { closed++ }}, nil
		}, []string{"slow", "fast"}, dialStagger)
		conn, err := dial(t.Context(), "tcp", "slow")
		if err != nil || conn.(namedConn).name != "fast" {
			t.Fatalf("got %v, %v", conn, err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if closed != 1 {
			t.Errorf("%d connections were closed, want that of the slow machine", closed)
		}
	})
}

type namedConn struct {
	net.Conn
	name  string
	close func()
}

func (c namedConn) Close() error {
	c.close()
	return nil
}
