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

// An unfinished rollback is what the status shows, with the command that continues it: the
// upgrade below it would go the other way.
func TestStatusShowsUnfinishedRollback(t *testing.T) {
	t.Parallel()
	const done, waits, failed, killed = pai.OutcomeSucceeded, pai.OutcomeWaiting, pai.OutcomeFailed, pai.OutcomeRunning
	up := func(o pai.Outcome) pai.Operation {
		return pai.Operation{Verb: pai.VerbUpgrade, Outcome: o, Target: pai.UpgradeTarget{Release: "v0.11"}}
	}
	back := func(o pai.Outcome, part string) pai.Operation {
		return pai.Operation{Verb: pai.VerbRollback, Outcome: o, Target: pai.UpgradeTarget{Part: part}, Waiting: []pai.Waiting{{Machine: "gpu-01", Step: "x"}}}
	}
	within := func(op pai.Operation) pai.Operation {
		op.Within = "an upgrade"
		return op
	}
	abandoned := pai.Operation{Verb: pai.VerbAbandon, Outcome: done}
	for name, c := range map[string]struct {
		operations []pai.Operation
		verb       pai.Verb
		state      string
		next       string
	}{
		"killed after an upgrade":        {[]pai.Operation{up(done), back(killed, "")}, pai.VerbRollback, StateUnfinished, "paictl upgrade rollback"},
		"killed in an upgrade":           {[]pai.Operation{up(failed), back(killed, "")}, pai.VerbRollback, StateUnfinished, "paictl upgrade rollback"},
		"of one part":                    {[]pai.Operation{up(failed), back(failed, pai.PartKubernetes)}, pai.VerbRollback, StateUnfinished, "paictl upgrade rollback --kubernetes"},
		"of an upgrade by itself":        {[]pai.Operation{up(failed), within(back(killed, pai.PartKubernetes))}, pai.VerbRollback, StateUnfinished, resumeCommand},
		"waits":                          {[]pai.Operation{up(done), back(waits, pai.PartServices)}, pai.VerbRollback, StateWaiting, "paictl upgrade rollback --services"},
		"services refreshed since":       {[]pai.Operation{up(done), back(waits, ""), {Verb: pai.VerbRefresh, Outcome: done}}, pai.VerbRollback, StateWaiting, "paictl upgrade rollback"},
		"done":                           {[]pai.Operation{up(failed), back(killed, ""), back(done, "")}, "", StateNone, ""},
		"upgraded again":                 {[]pai.Operation{up(failed), back(failed, ""), up(done)}, pai.VerbUpgrade, StateDone, ""},
		"upgrade killed again":           {[]pai.Operation{up(failed), back(failed, ""), up(killed)}, pai.VerbUpgrade, StateUnfinished, resumeCommand},
		"abandoned":                      {[]pai.Operation{up(failed), back(failed, ""), abandoned}, pai.VerbUpgrade, StateAbandoned, ""},
		"upgrade of v0.9 without target": {[]pai.Operation{{Verb: pai.VerbUpgrade, To: upgradedPair, Outcome: failed}}, pai.VerbUpgrade, StateUnfinished, "paictl upgrade apply --to v0.10"},
		"without target and services":    {[]pai.Operation{{Verb: pai.VerbUpgrade, Outcome: failed}}, pai.VerbUpgrade, StateUnfinished, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t)
			recordAll(t, run.NewJournal(f.files), c.operations)
			st, err := UpgradeStatus(t.Context(), f.Session)
			if err != nil {
				t.Fatal(err)
			}
			var verb pai.Verb
			if st.Operation != nil {
				verb = st.Operation.Verb
			}
			if verb != c.verb || st.State != c.state || st.Next != c.next {
				t.Errorf("got %s of %q, next %q; want %s of %q, next %q", st.State, verb, st.Next, c.state, c.verb, c.next)
			}
			if wants := c.verb == pai.VerbRollback; (len(st.Waiting) > 0) != wants {
				t.Errorf("got waiting machines %+v, want some: %v", st.Waiting, wants)
			}
			needed, err := neededOperations(t.Context(), run.NewJournal(f.files))
			if err != nil || st.Operation != nil && !needed[st.Operation.ID] {
				t.Errorf("got needed operations %v, %v, without that of the status", needed, err)
			}
		})
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
