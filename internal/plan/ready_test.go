package plan

import (
	"slices"
	"testing"
)

// Only the step of a service that had the wanted release already can be left out.
func TestWithoutReadyLeavesOutOnlyServicesOfTheSameRelease(t *testing.T) {
	kueue := Step{ID: "services/v0.11/kueue", Kind: KindService, Target: "kueue", From: "v0.11", To: "v0.11"}
	jobset := Step{ID: "services/v0.11/jobset", Kind: KindService, Target: "jobset", From: "v0.11", To: "v0.11", After: []StepID{kueue.ID}}
	newer := Step{ID: "services/v0.11/rest-server", Kind: KindService, Target: "rest-server", From: "v0.10", To: "v0.11", After: []StepID{jobset.ID}}
	images := Step{ID: "services/v0.11/machine/gpu-01/images", Kind: KindImages, Target: "gpu-01", From: "v0.11", To: "v0.11"}
	shown := Plan{Steps: []Step{images, kueue, jobset, newer}}
	for name, c := range map[string]struct {
		current []Step
		names   []string
		left    []StepID
	}{
		"nothing changed":            {shown.Steps, nil, []StepID{images.ID, kueue.ID, jobset.ID, newer.ID}},
		"one is ready":               {[]Step{images, kueue, newer}, []string{"jobset"}, []StepID{images.ID, kueue.ID, newer.ID}},
		"all are ready":              {[]Step{images, newer}, []string{"kueue", "jobset"}, []StepID{images.ID, newer.ID}},
		"another release vanished":   {[]Step{images, kueue, jobset}, nil, []StepID{images.ID, kueue.ID, jobset.ID, newer.ID}},
		"another kind vanished":      {[]Step{kueue, jobset, newer}, nil, []StepID{images.ID, kueue.ID, jobset.ID, newer.ID}},
		"nothing is needed any more": {nil, []string{"kueue", "jobset"}, []StepID{images.ID, newer.ID}},
	} {
		left, names := shown.WithoutReady(c.current)
		var ids []StepID
		for _, s := range left.Steps {
			ids = append(ids, s.ID)
		}
		if !slices.Equal(names, c.names) || !slices.Equal(ids, c.left) {
			t.Errorf("%s: got %v ready and %v left, want %v and %v", name, names, ids, c.names, c.left)
		}
	}
	if left, _ := shown.WithoutReady([]Step{images, kueue, newer}); !slices.Equal(left.Steps[2].After, []StepID{kueue.ID}) {
		t.Errorf("got %v after %v, want what waited for jobset to wait for kueue", left.Steps[2].ID, left.Steps[2].After)
	}
}
