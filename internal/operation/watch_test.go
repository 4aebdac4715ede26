package operation

import (
	"encoding/json"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
)

// unreachable is the kubeconfig of an API server that does not run.
const unreachable = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

// During an API outage there is a witness if there is a baseline, and otherwise
// the reason why there is none.
func TestWitnessDuringAPIOutage(t *testing.T) {
	client, err := kube.FromKubeconfig([]byte(unreachable))
	if err != nil {
		t.Fatal(err)
	}
	s := &session.Session{Config: &config.Config{}, Progressf: t.Logf}
	s.UseKube(client)
	baseline, err := json.Marshal(witness.Baseline{Taken: time.Now(), LastWatched: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	store := runtest.Dir(t.TempDir())
	if err := store.WriteFile(t.Context(), baselineFile("killed"), baseline, 0o600); err != nil {
		t.Fatal(err)
	}
	world := plan.World{APIError: "connection refused", Current: pai.Pair{Kubernetes: "v0.9-pai"}}
	for _, c := range []struct {
		operation string
		resumed   bool
		watched   bool
	}{{"killed", true, true}, {"killed", false, false}, {"killed-before-its-witness", true, false}} {
		w, err := startWatch(t.Context(), s, world, c.operation, store, c.resumed, func(plan.Step) guard.Reach { return guard.Reach{} })
		if err != nil || (w.witness != nil) != c.watched || (w.unobserved == "") != c.watched {
			t.Errorf("%s, resumed %v: got watched %v, unobserved %q, error %v", c.operation, c.resumed, w.witness != nil, w.unobserved, err)
		}
		if err == nil {
			w.stop(t.Context())
		}
	}
}
