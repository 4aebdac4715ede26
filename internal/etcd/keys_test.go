package etcd

import (
	"maps"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/etcdtest"
)

func TestValuesAndReplace(t *testing.T) {
	t.Parallel()
	s := &etcdtest.Server{Keys: map[string]string{"/registry/pods/a/1": "one", "/registry/pods/b/1": "other", "/registry/jobs/a/1": "job", "/registry/secrets/a": "x"}}
	c := openClient(t, startServer(t, s))
	got, err := c.Values(t.Context(), layout.SlotB, []string{"/registry/pods/a", "/registry/jobs/", "/registry/none/"})
	if err != nil || len(got) != 2 || string(got["/registry/pods/a/1"]) != "one" || string(got["/registry/jobs/a/1"]) != "job" {
		t.Errorf("got %q, %v", got, err)
	}
	keys, err := c.Keys(t.Context(), layout.SlotB, "/registry/pods/")
	if err != nil || len(keys) != 2 || keys["/registry/pods/b/1"] != (Revisions{Created: 1, Modified: 2}) {
		t.Errorf("got keys %v, %v", keys, err)
	}
	for range 2 { // it can be repeated
		if err := c.Replace(t.Context(), layout.SlotB, map[string][]byte{"/registry/pods/b/1": []byte("new"), "/registry/pods/c/1": []byte("c")}, []string{"/registry/jobs/a/1"}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"/registry/pods/a/1": "one", "/registry/pods/b/1": "new", "/registry/pods/c/1": "c", "/registry/secrets/a": "x"}
	if !maps.Equal(s.Keys, want) {
		t.Errorf("got %v, want %v", s.Keys, want)
	}
}
