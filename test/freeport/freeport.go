// Package freeport chooses ports for programs that tests start. It may be imported by
// tests only.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports lie below those that Linux gives to outgoing connections (32768 and above, see
// ip_local_port_range in ip(7)): such a connection could take a port between its choice and
// the start of the program.
const (
	first = 20000
	last  = 32000
	tries = 100
)

// Get returns a port of 127.0.0.1 that is not in use.
func Get(t testing.TB) int {
	t.Helper()
	for range tries {
		port := first + rand.IntN(last-first)
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close() // it accepted nothing
			return port
		}
	}
	t.Fatalf("%d ports between %d and %d are in use", tries, first, last)
	return 0
}
