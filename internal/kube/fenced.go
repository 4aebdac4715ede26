package kube

import (
	"fmt"
	"net/http"

	"pai.dev/pai/internal/fence"
)

// fenced is a RoundTripper that sends no write of an operation that has lost the lock of
// the cluster.
type fenced struct{ next http.RoundTripper }

func (f fenced) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := fence.Check(r.Context()); err != nil {
			if r.Body != nil {
				_ = r.Body.Close() // a RoundTripper closes it in any case; nothing was sent
			}
			return nil, fmt.Errorf("%s %s was not sent: %w", r.Method, r.URL.Path, err)
		}
	}
	return f.next.RoundTrip(r)
}
