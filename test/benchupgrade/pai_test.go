package main

import (
	"slices"
	"testing"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// The row of the runtime needs a runtime that was replaced, and a record of the gap.
func TestStartGap(t *testing.T) {
	t.Parallel()
	runtime := []pai.StepRecord{{ID: "kubernetes/v0.11-pai/machine/pai-1/containerd"}}
	seconds := map[string]float64{"pai-2": 0.25, "pai-1": 1.24}
	for name, test := range map[string]struct {
		op   pai.Operation
		want string
	}{
		"two machines": {pai.Operation{Steps: runtime, StartSeconds: seconds}, "pai-1 1.2 s, pai-2 0.2 s"},
		"not recorded": {pai.Operation{Steps: runtime}, ""},
		"not replaced": {pai.Operation{StartSeconds: seconds}, ""},
	} {
		if got, err := startGap(test.op); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: got %q, error %v, want %q", name, got, err, test.want)
		}
	}
}

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
