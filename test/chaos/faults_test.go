package chaos

import (
	"context"
	"slices"
	"testing"
	"time"
)

// attemptOf is an attempt that says that these steps began and ended, and no
// more; it has not ended yet.
func attemptOf(steps ...string) *Attempt {
	a := &Attempt{Events: make(chan Event, 2*len(steps)), ended: make(chan struct{})}
	for _, id := range steps {
		for _, kind := range []string{"step-started", "step-ended"} {
			e := Event{Kind: kind, Outcome: "succeeded"}
			e.Step.ID = id
			a.Events <- e
		}
	}
	close(a.Events)
	return a
}

func TestInStepsInjectsOncePerStepAndUpgrade(t *testing.T) {
	var injected []string
	fault := Fault{Inject: inSteps([]string{"cluster/etcd", "/kubelet", "/kueue"}, func(_ context.Context, _ *Cluster, _ *Attempt, step string) error {
		injected = append(injected, step)
		return nil
	})}
	want := []string{"hop/cluster/etcd", "hop/machine/pai-1/kubelet", "services/v0.10/kueue"}
	for round := range 2 {
		injected = nil
		inject := fault.Inject()
		for n, attempt := range [][]string{
			{"hop/cluster/snapshot", "hop/cluster/etcd"},
			{"hop/cluster/etcd", "hop/machine/pai-1/kubelet", "hop/machine/pai-2/kubelet"},
			{"services/v0.10/kueue", "services/v0.10/jobset"},
		} {
			again, err := inject(t.Context(), nil, attemptOf(attempt...), n)
			if err != nil || again != (n < 2) {
				t.Errorf("round %d, attempt %d: again %v, error %v", round, n, again, err)
			}
		}
		if !slices.Equal(injected, want) {
			t.Errorf("round %d: got injections %q, want %q", round, injected, want)
		}
	}
}

func TestInStepsSkipsEndedAttempt(t *testing.T) {
	inject := inSteps([]string{"cluster/etcd"}, func(context.Context, *Cluster, *Attempt, string) error {
		t.Error("injected after paictl had ended")
		return nil
	})()
	a := attemptOf("hop/cluster/etcd")
	close(a.ended)
	if again, err := inject(t.Context(), nil, a, 0); err != nil || !again {
		t.Errorf("no injection into the next attempt: again %v, error %v", again, err)
	}
}

func TestEndedWithinReportsEndedStep(t *testing.T) {
	a := attemptOf("hop/cluster/etcd", "hop/cluster/apiserver")
	if id, ok := a.started("cluster/etcd"); !ok || !a.endedWithin(id, time.Minute) {
		t.Error("the end of a step was not seen")
	}
	if id, ok := a.started("cluster/apiserver"); !ok || id != "hop/cluster/apiserver" {
		t.Error("the step that followed was lost")
	}
	running := &Attempt{Events: make(chan Event)}
	if running.endedWithin("hop/cluster/etcd", time.Millisecond) {
		t.Error("a running step counts as ended")
	}
}
