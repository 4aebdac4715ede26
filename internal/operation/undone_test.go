package operation

import (
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
)

// doneRollback is a rollback of an upgrade that did no step.
type doneRollback struct{ rollback }

func (doneRollback) Plan(plan.Input) (plan.Plan, error) {
	return plan.Plan{Verb: pai.VerbRollback, From: upgradedPair, To: upgradedPair, Hops: []plan.Hop{}, Steps: []plan.Step{}}, nil
}

// An upgrade makes the configuration name its versions before its first step. A rollback
// undoes that also if no step was done, because the next boot would upgrade.
func TestRollbackWithoutStepsUndoesTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		target   plan.Target
		named    pai.Pair // in the configuration
		recorded bool
		revision int // newest
	}{
		"both parts":    {plan.Target{}, pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}, true, 2},
		"services only": {plan.Target{ServicesOnly: true}, pai.Pair{Services: "v0.11", Kubernetes: "v0.10-pai"}, false, 2},
		"the same":      {plan.Target{}, upgradedPair, true, 1}, // undone by a run that was killed
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t)
			upgrade := newOperation(f.Session, Upgrade(plan.Target{Release: "v0.11"}), RunOptions{})
			upgrade.preview.Plan.To = c.named
			if err := config.SetVersions(f.Config.Dir, c.named); err != nil {
				t.Fatal(err)
			}
			upgrade.config.Session.Config.Kubernetes.Version, upgrade.config.Session.Config.Services.Cluster.Common.Release = c.named.Kubernetes, pai.Release(c.named.Services)
			if err := upgrade.applyRevision(t.Context()); err != nil {
				t.Fatal(err)
			}
			recordAll(t, run.NewJournal(f.files), []pai.Operation{{Verb: pai.VerbUpgrade, From: upgradedPair, To: c.named, Outcome: pai.OutcomeFailed, Target: pai.UpgradeTarget{Release: "v0.11"}}})
			op, err := Run(t.Context(), f.Session, doneRollback{rollback{to: upgradedPair, target: c.target}}, RunOptions{})
			if err != nil || (op.Outcome == pai.OutcomeSucceeded) != c.recorded {
				t.Fatalf("got %+v, %v, want it recorded: %v", op, err, c.recorded)
			}
			now, err := config.Load(f.Config.Dir)
			if err != nil || now.Pair() != upgradedPair || f.Config.Pair() != upgradedPair {
				t.Errorf("got a configuration of %v, %v, want %v", now.Pair(), err, upgradedPair)
			}
			newest, err := revision.NewStore(f.files).Newest(t.Context())
			if err != nil || newest.Number != c.revision {
				t.Errorf("got revision %+v, %v, want %d", newest, err, c.revision)
			}
			if left, err := Unfinished(t.Context(), f.Session); err != nil || (left == nil) != c.recorded {
				t.Errorf("got %+v, %v left to resume", left, err)
			}
			f.wantUnlocked()
		})
	}
}

// A rollback that was killed ends when the same command has nothing left to do, when an
// upgrade has gone forward again, or when it is abandoned.
func TestUnfinishedRollbackEnds(t *testing.T) {
	t.Parallel()
	undo := func(target plan.Target) Goal { return doneRollback{rollback{to: upgradedPair, target: target}} }
	forward := func(target plan.Target) Goal { return doneUpgrade{Upgrade(target).(upgrade)} }
	for name, c := range map[string]struct {
		part string // of the rollback
		goal Goal
		ends bool
	}{
		"the same command":         {"", undo(plan.Target{}), true},
		"of the same part":         {pai.PartServices, undo(plan.Target{ServicesOnly: true}), true},
		"a rollback of both parts": {pai.PartServices, undo(plan.Target{}), true},
		"of another part":          {pai.PartServices, undo(plan.Target{KubernetesOnly: true}), false},
		"an upgrade":               {"", forward(plan.Target{Release: "v0.10"}), true},
		"of another part forward":  {pai.PartServices, forward(plan.Target{Release: "v0.10", KubernetesOnly: true}), false},
	} {
		for _, outcome := range []pai.Outcome{pai.OutcomeRunning, pai.OutcomeStopped, pai.OutcomeWaiting} {
			t.Run(name+" "+string(outcome), func(t *testing.T) {
				t.Parallel()
				f := newFlow(t)
				recordAll(t, run.NewJournal(f.files), []pai.Operation{
					{Verb: pai.VerbUpgrade, To: upgradedPair, Outcome: pai.OutcomeSucceeded, Target: pai.UpgradeTarget{Release: "v0.10"}},
					{Verb: pai.VerbRollback, From: upgradedPair, To: pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, Outcome: outcome, Target: pai.UpgradeTarget{Part: c.part}}})
				if must, err := (abandon{}).MustRecord(t.Context(), f.Session); err != nil || !must {
					t.Errorf("got %t, %v for whether it can be abandoned", must, err)
				}
				if _, err := Run(t.Context(), f.Session, c.goal, RunOptions{}); err != nil {
					t.Fatal(err)
				}
				found, err := upgradesOf(t.Context(), f.Session)
				if err != nil || (found.rollback == nil) != c.ends {
					t.Errorf("got %+v, %v unfinished, want none: %v", found.rollback, err, c.ends)
				}
			})
		}
	}
}
