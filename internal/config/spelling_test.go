package config

import (
	"testing"

	"pai.dev/pai/internal/pai"
)

// Programs, bundles, and labels are named after versions. A configuration can
// spell them in another way.
func TestPairHasTheSpellingOfReleases(t *testing.T) {
	t.Parallel()
	c := New("lab", pai.Pair{Services: "v0.10.0", Kubernetes: "v0.10.0-pai"}, nil, nil)
	if got, want := c.Pair(), (pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}); got != want || c.Release() != "v0.10" {
		t.Errorf("got %v and release %s, want %v", got, c.Release(), want)
	}
}
