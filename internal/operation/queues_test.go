package operation

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// queuesAPI answers with the state of Kueue, and with the queues of virtual clusters by the
// release that they were applied by.
func queuesAPI(t *testing.T, state, release string, queues func() map[string]string) *kube.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var answer any
		switch {
		case strings.HasSuffix(r.URL.Path, "/configmaps/inventory-service-kueue") && state == "":
			w.WriteHeader(http.StatusNotFound)
			answer = map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
		case strings.HasSuffix(r.URL.Path, "/configmaps/inventory-service-kueue"):
			answer = map[string]any{"kind": "ConfigMap", "apiVersion": "v1", "metadata": map[string]any{"name": "inventory-service-kueue"},
				"data": map[string]any{"state": state, "objects.json": "[]", "record.json": `{"release":"` + release + `"}`}}
		case strings.HasSuffix(r.URL.Path, "/localqueues"):
			items := []any{}
			for name, of := range queues() {
				items = append(items, map[string]any{"kind": "LocalQueue", "apiVersion": "kueue.x-k8s.io/v1beta1", "metadata": map[string]any{
					"name": "jobs", "namespace": "pai-vc-" + name, "annotations": map[string]any{"pai.dev/release": of}}})
			}
			answer = map[string]any{"kind": "LocalQueueList", "apiVersion": "kueue.x-k8s.io/v1beta1", "metadata": map[string]any{}, "items": items}
		default:
			t.Errorf("unexpected request %s", r.URL.Path)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	client, err := kube.FromConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// The REST server of a release is prepared once each virtual cluster has the queue of that
// release, or Kueue does not change.
func TestServerWaitsForQueues(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{}
	cfg.Services.VirtualClusters = map[string]config.VirtualCluster{"default": {}, "vision": {}}
	o := newOperation(&session.Session{Config: cfg}, nil, RunOptions{})
	for name, c := range map[string]struct {
		state, release string
		queues         map[string]string
		waits          string // what the error names; empty for none
	}{
		"complete":             {kube.InventoryApplied, "v0.11", nil, ""},
		"newer":                {kube.InventoryApplied, "v0.12", nil, ""},
		"not started":          {"", "", nil, ""},
		"stopped":              {kube.InventoryStopped, "v0.10", nil, ""},
		"applied":              {kube.InventoryApplying, "v0.10", map[string]string{"default": "v0.11", "vision": "v0.11", "gone": "v0.9"}, ""},
		"not yet started":      {kube.InventoryApplied, "v0.10", map[string]string{"default": "v0.10", "vision": "v0.10"}, "not there yet: default, vision"},
		"one is older":         {kube.InventoryApplying, "v0.10", map[string]string{"default": "v0.11", "vision": "v0.10"}, "not there yet: vision"},
		"one is missing":       {kube.InventoryApplying, "v0.10", map[string]string{"vision": "v0.11"}, "not there yet: default"},
		"of no release at all": {kube.InventoryApplying, "v0.10", map[string]string{"default": "", "vision": "v0.11"}, "not there yet: default"},
	} {
		client := queuesAPI(t, c.state, c.release, func() map[string]string { return c.queues })
		prepared := false
		before := func(context.Context, *kube.Client) error { prepared = true; return nil }
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("service kueue failed"))
		err := o.withQueues(pai.ServicesVersion("v0.11"), before)(ctx, client)
		cancel()
		switch {
		case c.waits == "" && (err != nil || !prepared):
			t.Errorf("%s: %v, prepared: %t", name, err, prepared)
		case c.waits != "" && (err == nil || !strings.Contains(err.Error(), c.waits) || !strings.Contains(err.Error(), "service kueue failed") || prepared):
			t.Errorf("%s: got %v, prepared: %t, want a wait that names %q and why it ended", name, err, prepared, c.waits)
		}
	}

	var asked atomic.Int32
	client := queuesAPI(t, kube.InventoryApplying, "v0.10", func() map[string]string {
		if asked.Add(1) < 3 {
			return nil
		}
		return map[string]string{"default": "v0.11", "vision": "v0.11"}
	})
	if err := o.withQueues("v0.11", func(context.Context, *kube.Client) error { return nil })(t.Context(), client); err != nil || asked.Load() != 3 {
		t.Errorf("got %v after %d questions, want the third one to end the wait", err, asked.Load())
	}
}
