package operation

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// killedByOlder is an operation on a machine whose upgrade the paictl of v0.10 did
// not finish: the files are those of commit c82e023 (test/older). Call it in a bubble of
// synctest, in which a busy host cannot let the lease of the lock expire.
func killedByOlder(t *testing.T, goal Goal, p plan.Plan) *operation {
	t.Helper()
	const older = "../../test/older/testdata/killed/machine"
	files := runtest.Dir(t.TempDir())
	err := filepath.WalkDir(older+run.Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return files.WriteFile(t.Context(), strings.TrimPrefix(name, older), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	o := newOperation(testSession(t, files, nil), goal, RunOptions{})
	o.preview.Plan = p
	// The clock of a bubble starts long before the older operation.
	time.Sleep(time.Until(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)))
	holder, err := run.ThisProcess("v0.11", goal.Verb())
	if err != nil {
		t.Fatal(err)
	}
	// Its holder sent no heartbeat any more.
	o.lock, err = run.Acquire(t.Context(), files, holder, run.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.lock.Release(context.WithoutCancel(t.Context())) })
	return o
}

const killedUpgrade = "20261126T024155.580Z"

func nineAndTen() (nine, ten pai.Pair) {
	return pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
}

// The same upgrade continues the entry of the older program: its baseline, its
// finished steps, and its start stay.
func TestUpgradeContinuesThatOfOlderProgram(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nine, ten := nineAndTen()
		left := plan.StepID("kubernetes/v0.10-pai/machine/pai-1/kubelet")
		o := killedByOlder(t, Upgrade(plan.Target{Release: "v0.10"}), plan.Plan{Verb: pai.VerbUpgrade, From: nine, To: ten, Steps: []plan.Step{{ID: left, Kind: plan.KindKubelet, Target: "pai-1"}}})
		entry, resumed, err := o.beginEntry(t.Context())
		if err != nil || !resumed || entry.Operation().ID != killedUpgrade {
			t.Fatalf("got %+v, resumed %v, error %v", entry, resumed, err)
		}
		if _, err := o.recordPlannedSteps(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
		if err := entry.Step(t.Context(), pai.StepRecord{ID: string(left), Outcome: pai.OutcomeSucceeded}); err != nil {
			t.Fatal(err)
		}
		host, err := o.ControlPlane()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := readBaseline(t.Context(), host, baselineFile(killedUpgrade)); err != nil || b == nil || len(b.Jobs) != 1 {
			t.Errorf("got baseline %+v, %v, want that of the older program", b, err)
		}
		if err := entry.End(t.Context(), pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
			t.Fatal(err)
		}
		op, err := run.NewJournal(host).Get(t.Context(), killedUpgrade)
		if err != nil || op.Outcome != pai.OutcomeSucceeded || op.Started.Year() != 2026 || op.Target.Release != "v0.10" {
			t.Fatalf("got %+v, %v", op, err)
		}
		outcomes := map[string]pai.Outcome{}
		for _, s := range op.Steps {
			outcomes[s.ID] = s.Outcome
		}
		if len(outcomes) < 10 || outcomes[string(left)] != pai.OutcomeSucceeded || outcomes["configuration/schema-2"] != pai.OutcomeSucceeded {
			t.Errorf("got steps %v, want those of both programs", outcomes)
		}
	})
}

// Another operation closes the entry as stopped, and loses nothing of it.
func TestOtherOperationClosesThatOfOlderProgram(t *testing.T) {
	t.Parallel()
	nine, ten := nineAndTen()
	eleven := pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}
	for name, c := range map[string]struct {
		goal Goal
		p    plan.Plan
	}{
		"k8s-bootup":                  {bootup{}, plan.Plan{Verb: pai.VerbBoot, From: nine, To: ten}},
		"upgrade to a newer release":  {Upgrade(plan.Target{Release: "v0.11"}), plan.Plan{Verb: pai.VerbUpgrade, From: ten, To: eleven}},
		"rollback":                    {rollback{to: nine}, plan.Plan{Verb: pai.VerbRollback, From: ten, To: nine}},
		"abandon":                     {Abandon(), plan.Plan{Verb: pai.VerbAbandon, From: ten, To: ten}},
		"upgrade of Kubernetes alone": {Upgrade(plan.Target{Release: "v0.10", KubernetesOnly: true}), plan.Plan{Verb: pai.VerbUpgrade, From: nine, To: pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o := killedByOlder(t, c.goal, c.p)
				entry, resumed, err := o.beginEntry(t.Context())
				if err != nil || resumed || entry.Operation().ID <= killedUpgrade {
					t.Fatalf("got %+v, resumed %v, error %v", entry, resumed, err)
				}
				host, err := o.ControlPlane()
				if err != nil {
					t.Fatal(err)
				}
				op, err := run.NewJournal(host).Get(t.Context(), killedUpgrade)
				if err != nil || op.Outcome != pai.OutcomeStopped || op.Error != "unfinished, and another operation followed" || len(op.Steps) < 10 || op.Ended.IsZero() {
					t.Errorf("got %+v, %v", op, err)
				}
			})
		})
	}
}

// A rollback returns to where the killed upgrade started, `resume` continues it, and
// the status reports it.
func TestKilledUpgradeOfOlderProgramIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		nine, _ := nineAndTen()
		o := killedByOlder(t, Upgrade(plan.Target{Release: "v0.10"}), plan.Plan{})
		goal, err := Rollback(t.Context(), o.Session, plan.Target{})
		if err != nil || goal.(rollback).to != nine {
			t.Errorf("got %+v, %v, want a rollback to %s", goal, err, nine)
		}
		left, err := Unfinished(t.Context(), o.Session)
		if err != nil || left == nil || left.ID != killedUpgrade {
			t.Fatalf("got %+v, %v, want the killed upgrade", left, err)
		}
		if target, err := Resumable(*left); err != nil || target != (plan.Target{Release: "v0.10"}) {
			t.Errorf("got target %+v, %v", target, err)
		}
		if got := stateOf(*left, nil); got != StateUnfinished {
			t.Errorf("got state %s", got)
		}
		var st Status
		st.steps(*left)
		if len(st.Done) < 5 || len(st.Left) == 0 {
			t.Errorf("got %d steps done, %d left", len(st.Done), len(st.Left))
		}
	})
}
