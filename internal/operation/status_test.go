package operation

import (
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// An operation is in progress unless the process that held the lock is dead.
func TestStateOf(t *testing.T) {
	t.Parallel()
	op := pai.Operation{ID: "x", Outcome: pai.OutcomeRunning}
	for health, want := range map[string]string{"alive": StateInProgress, "": StateInProgress, "dead": StateUnfinished} {
		if got := stateOf(op, &LockState{Health: health}); got != want {
			t.Errorf("lock %q: got %s, want %s", health, got, want)
		}
	}
	if got := stateOf(op, nil); got != StateUnfinished {
		t.Errorf("free lock: got %s, want %s", got, StateUnfinished)
	}
	if got := stateOf(op, &LockState{Holder: run.Holder{Verb: pai.VerbScheduledBackup}, Health: "alive"}); got != StateUnfinished {
		t.Errorf("lock of a scheduled backup: got %s, want %s", got, StateUnfinished)
	}
}

func TestWaitingStep(t *testing.T) {
	t.Parallel()
	const id = "kubernetes/v2/machine/gpu-01/"
	for _, c := range []struct {
		name   string
		of     pai.Waiting
		want   plan.Step
		wantOK bool
	}{
		{"kubelet", pai.Waiting{Step: id + "kubelet", Kind: string(plan.KindKubelet), To: "v2"}, plan.Step{Kind: plan.KindKubelet, To: "v2"}, true},
		{"role", pai.Waiting{Step: "x", Kind: string(plan.KindRole), Role: "containerd", To: "v2"}, plan.Step{Kind: plan.KindRole, Role: plan.RoleRuntime, To: "v2"}, true},
		{"unknown kind", pai.Waiting{Step: "x", Kind: "machine-firmware", To: "v2"}, plan.Step{Kind: "machine-firmware", To: "v2"}, false},
		{"kubelet, entry of v0.10", pai.Waiting{Step: id + "kubelet"}, plan.Step{Kind: plan.KindKubelet, To: "v2"}, true},
		{"role, entry of v0.10", pai.Waiting{Step: id + "containerd"}, plan.Step{Kind: plan.KindRole, Role: plan.RoleRuntime, To: "v2"}, true},
		{"ID of another form", pai.Waiting{Step: "services/v2/kueue"}, plan.Step{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.of.Machine = "gpu-01"
			got, ok := waitingStep(pai.Operation{From: pai.Pair{Kubernetes: "v1"}}, c.of)
			if ok != c.wantOK {
				t.Fatalf("got %+v, %v; want %v", got, ok, c.wantOK)
			}
			if ok && (got.Kind != c.want.Kind || got.Role != c.want.Role || got.To != c.want.To || got.From != "v1" ||
				got.Target != "gpu-01" || got.Risk != pai.RiskNode || string(got.ID) != c.of.Step) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
