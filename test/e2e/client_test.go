//go:build e2e

package e2e

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"pai.dev/pai/test/poller"
)

// startClient starts a client of the REST server that never retries. The test in
// which it is stopped fails for each request that failed.
func (o *operator) startClient() (stop func(*testing.T)) {
	o.t.Helper()
	p, err := poller.Start(context.Background(), filepath.Join(o.state, "clusters", "local", "rest.json"))
	if err != nil {
		o.t.Fatal(err)
	}
	return func(t *testing.T) {
		r := p.Stop()
		t.Logf("%d requests, the longest took %s", r.Requests, r.Longest.Round(time.Millisecond))
		for _, f := range r.Failures {
			t.Errorf("a request failed: %s", f)
		}
	}
}
