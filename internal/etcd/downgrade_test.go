package etcd

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/etcdtest"
)

func TestMinor(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"v3.7.3": "3.7", "3.6.16": "3.6", "3.7.0": "3.7", "": "", "3": ""} {
		if got := Minor(version); got != want {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
}

// A downgrade is enabled once, its result is awaited, and another target is dropped.
// Data that has the form already needs none, and ending it twice is no error.
func TestDowngrade(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, storage, target string
		enabled               int
	}{
		{"newer data", "3.7.0", "", 1},
		{"a downgrade that was enabled before", "3.7.0", "3.6.0", 0},
		{"a downgrade to another minor", "3.7.0", "3.5.0", 1},
		{"data of that minor", "3.6.0", "3.6.0", 0},
	} {
		s := &etcdtest.Server{Version: "3.7.3", Storage: c.storage, Target: c.target, Rewrites: 2, Members: []*pb.Member{{ID: 1, Name: "m1-a"}}}
		client := openClient(t, startServer(t, s))
		if err := client.Downgrade(t.Context(), layout.SlotA, "3.6"); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		status, err := client.Status(t.Context(), layout.SlotA)
		if err != nil || status.Storage != "3.6.0" || status.Downgrade != "3.6.0" || s.Enabled != c.enabled {
			t.Errorf("%s: got %+v, %v, enabled %d times, want %d", c.name, status, err, s.Enabled, c.enabled)
		}
		for range 2 {
			if err := client.EndDowngrade(t.Context(), layout.SlotA); err != nil || s.Target != "" {
				t.Errorf("%s: got downgrade to %q, %v, want none", c.name, s.Target, err)
			}
		}
	}
}
