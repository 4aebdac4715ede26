package operation

import (
	"maps"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/test/runtest"
)

func TestOperationAppliesRevision(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	store := revision.NewStore(files)
	s := testSession(t, files, nil)
	p := plan.Plan{From: pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}, To: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}}
	for _, step := range []struct {
		name     string
		goal     Goal
		revision int
		applied  revision.Applied
	}{
		{"clean", Clean(false), 0, revision.Applied{}},
		{"boot", bootup{}, 1, revision.Applied{revision.Kubernetes: 1}},
		{"start one service", startServices{which: plan.Choice{Names: []string{"kueue"}}}, 1, revision.Applied{revision.Kubernetes: 1}},
		{"start all services but one", startServices{which: plan.Choice{Skip: []string{"kueue"}}}, 1, revision.Applied{revision.Kubernetes: 1}},
		{"start all services", startServices{}, 1, revision.Applied{revision.Kubernetes: 1, revision.Services: 1}},
		{"roll back services", rollback{}, 1, revision.Applied{revision.Kubernetes: 1}},
		{"upgrade services", Upgrade(plan.Target{Release: "v0.10"}), 1, revision.Applied{revision.Kubernetes: 1, revision.Services: 1}},
	} {
		o := newOperation(s, step.goal, RunOptions{})
		o.preview.Plan = p
		if err := o.applyRevision(t.Context()); err != nil || o.config.Revision != step.revision {
			t.Errorf("%s: got revision %d, %v, want %d", step.name, o.config.Revision, err, step.revision)
		}
		if err := o.markApplied(t.Context()); err != nil {
			t.Error(err)
		}
		if a, err := store.Applied(t.Context()); err != nil || !maps.Equal(a, step.applied) {
			t.Errorf("%s: got applied %v, %v; want %v", step.name, a, err, step.applied)
		}
	}
}
