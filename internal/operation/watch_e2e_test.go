//go:build e2e

package operation

import (
	"encoding/json"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/kube/kubetest"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run/runtest"
	"pai.dev/pai/internal/session"
)

// An operation that is taken up while the API is away is watched from what was
// known at its start; only the time in which nobody ran it is unobserved.
func TestAnOperationTakenUpInTheDarkIsWatched(t *testing.T) {
	api := kubetest.Start(t)
	store, ctx := runtest.Dir(t.TempDir()), t.Context()
	s := newOperation(&session.Session{Config: &config.Config{}, Progressf: t.Logf})
	s.UseKube(api.Client)
	now := time.Now()
	baseline, err := json.Marshal(witness.Baseline{Taken: now.Add(-time.Minute), LastWatched: now.Add(-20 * time.Second)})
	if err == nil {
		err = store.WriteFile(ctx, baselineFile("killed"), baseline, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	api.StopAPIServer()
	world := plan.World{APIError: "connection refused", Current: pai.Pair{Kubernetes: "v0.9-pai"}}
	for _, c := range []struct {
		operation string
		resumed   bool
		watched   bool
	}{{"killed", true, true}, {"killed", false, false}, {"killed-before-its-witness", true, false}} {
		w, err := s.startWatch(ctx, world, c.operation, store, c.resumed)
		if err != nil || (w.witness != nil) != c.watched || (w.blind == "") != c.watched {
			t.Fatalf("%s, resumed %v: watched %v, blind %q, error %v", c.operation, c.resumed, w.witness != nil, w.blind, err)
		}
		if !c.watched {
			continue
		}
		time.Sleep(time.Second) // the API is away while it is watched
		api.StartAPIServer()
		report := w.stop(ctx)
		if report.API.OutageSeconds < 0.5 || report.UnobservedSeconds < 15 || report.UnobservedSeconds > 40 {
			t.Errorf("the API was away for %.1f s, and nobody watched for %.1f s; want what was away while it watched, and the 20 s before that", report.API.OutageSeconds, report.UnobservedSeconds)
		}
		api.StopAPIServer()
	}
}
