//go:build e2e

package operation

import (
	"encoding/json"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/kubetest"
	"pai.dev/pai/test/runtest"
)

// An operation that is resumed during an API outage is compared with its
// baseline; only the time between its runs is unobserved.
func TestResumeWithoutAPIIsWatched(t *testing.T) {
	api := kubetest.Start(t)
	store, ctx := runtest.Dir(t.TempDir()), t.Context()
	s := &session.Session{Config: &config.Config{}, Progressf: t.Logf}
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
		w, err := startWatch(ctx, s, world, c.operation, store, c.resumed, func(plan.Step) guard.Reach { return guard.Reach{} })
		if err != nil || (w.witness != nil) != c.watched || (w.unobserved == "") != c.watched {
			t.Fatalf("%s, resumed %v: got watched %v, unobserved %q, error %v", c.operation, c.resumed, w.witness != nil, w.unobserved, err)
		}
		if !c.watched {
			continue
		}
		time.Sleep(time.Second) // an outage while it is watched
		api.StartAPIServer()
		report := w.stop(ctx)
		if report.API.OutageSeconds < 0.5 || report.UnobservedSeconds < 15 || report.UnobservedSeconds > 40 {
			t.Errorf("got an outage of %.1f s and %.1f s unobserved; want the outage while it was watched, and the 20 s before", report.API.OutageSeconds, report.UnobservedSeconds)
		}
		api.StopAPIServer()
	}
}
