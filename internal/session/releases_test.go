package session

import (
	"testing"

	"pai.dev/pai/internal/config"
)

// Every release's schema is one that this paictl has, and never falls.
func TestReleasesHaveSchemas(t *testing.T) {
	t.Parallel()
	known, err := KnownToConfig()
	if err != nil {
		t.Fatal(err)
	}
	last := config.OldestSchema
	for _, r := range known {
		if r.Schema < last || r.Schema > config.Schema {
			t.Errorf("release %s has schema %d after %d", r.Pair.Services, r.Schema, last)
		}
		last = r.Schema
	}
	if last != config.Schema {
		t.Errorf("the newest release has schema %d, this paictl writes %d", last, config.Schema)
	}
}
