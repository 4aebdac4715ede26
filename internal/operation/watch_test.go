package operation

import (
	"encoding/json"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// nobody is a client of an API that no one serves.
const nobody = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`

// While the API is away there is a witness where there is something to compare
// with, and otherwise the reason why there is none.
func TestWhoIsWatchedWhileTheAPIIsAway(t *testing.T) {
	client, err := kube.FromKubeconfig([]byte(nobody))
	if err != nil {
		t.Fatal(err)
	}
	s := newOperation(&session.Session{Config: &config.Config{}, Progressf: t.Logf})
	s.UseKube(client)
	baseline, err := json.Marshal(witness.Baseline{Taken: time.Now(), LastWatched: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	store := files{baselineFile("killed"): baseline}
	world := plan.World{APIError: "connection refused", Current: pai.Pair{Kubernetes: "v0.9-pai"}}
	for _, c := range []struct {
		operation string
		resumed   bool
		watched   bool
	}{{"killed", true, true}, {"killed", false, false}, {"killed-before-its-witness", true, false}} {
		w, err := s.startWatch(t.Context(), world, c.operation, store, c.resumed)
		if err != nil || (w.witness != nil) != c.watched || (w.blind == "") != c.watched {
			t.Errorf("%s, resumed %v: watched %v, blind %q, error %v", c.operation, c.resumed, w.witness != nil, w.blind, err)
		}
		if err == nil {
			w.stop(t.Context())
		}
	}
}
