package main

import (
	"slices"
	"testing"

	"pai.dev/pai/internal/kube"
)

// The counted lines are those that paictl prints about a service.
func TestChangedCountsWhatPaictlPrints(t *testing.T) {
	t.Parallel()
	set := kube.ChangeSet{{Action: kube.Created}, {Action: kube.Created}, {Action: kube.Configured}, {Action: kube.Unchanged}, {Action: kube.Deleted}}
	for line, want := range map[string][]string{
		"kueue: " + set.String():                             {"2", "1", "1", ""},
		"kueue: deleted 7 objects of the previous release":   {"", "", "", "7"},
		"kueue: waiting for 2 objects of the previous state": nil,
	} {
		got := changed.FindStringSubmatch(line)
		if len(got) > 0 {
			got = got[1:]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}
