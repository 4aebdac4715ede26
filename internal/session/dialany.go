package session

import (
	"context"
	"net"
	"slices"
	"time"
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialStagger is how long one control-plane machine can take to accept a connection before
// the next one is tried beside it. A machine without power does not refuse.
const dialStagger = 300 * time.Millisecond

// attempt is the result of one connection.
type attempt struct {
	conn  net.Conn
	err   error
	first bool // to the address that was asked for
}

// dialAny connects to the address that is asked for, or to one of others: the first that
// accepts. The next one is tried when one refuses, and after stagger. If all fail, the error
// is that of the address that is asked for.
func dialAny(dial dialFunc, others []string, stagger time.Duration) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		left := append([]string{address}, slices.DeleteFunc(slices.Clone(others), func(o string) bool { return o == address })...)
		ctx, cancel := context.WithCancel(ctx) // ends the attempts that are not needed
		defer cancel()
		results, pending := make(chan attempt), 0
		defer func() { go closeLate(results, pending) }()
		var failed error
		for len(left) > 0 || pending > 0 {
			var next <-chan time.Time
			if len(left) > 0 {
				to := left[0]
				left = left[1:]
				pending++
				go func() {
					conn, err := dial(ctx, network, to)
					results <- attempt{conn, err, to == address}
				}()
			}
			if len(left) > 0 {
				next = time.After(stagger)
			}
			select {
			case a := <-results:
				pending--
				if a.err == nil {
					return a.conn, nil
				}
				if a.first || failed == nil {
					failed = a.err
				}
			case <-next:
			}
		}
		return nil, failed
	}
}

// closeLate closes the connections of attempts that were slower.
func closeLate(results <-chan attempt, pending int) {
	for range pending {
		if a := <-results; a.err == nil {
			_ = a.conn.Close()
		}
	}
}
