package operation

import (
	"testing"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// doneUpgrade is an upgrade with nothing left to do.
type doneUpgrade struct{ upgrade }

var upgradedPair = pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}

func (doneUpgrade) Plan(plan.Input) (plan.Plan, error) {
	return plan.Plan{Verb: pai.VerbUpgrade, From: upgradedPair, To: upgradedPair, Hops: []plan.Hop{}, Steps: []plan.Step{}}, nil
}
func (doneUpgrade) Bundle(*session.Session, plan.World) pai.Release { return "" }
func (doneUpgrade) Preflight() (check.Stage, pai.Release)           { return check.Upgrade, "" }
func (doneUpgrade) Reconfigure(*configsync.Step, plan.Plan) error   { return nil }

// If the last machine that an upgrade waited for is in maintenance, nothing is planned. The
// upgrade is then recorded as done, once, and not as one to another target.
func TestUpgradeEndsWhenItsLastMachineIsInMaintenance(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		outcome pai.Outcome
		to      pai.Release
		want    int // operations
	}{
		"waiting": {pai.OutcomeWaiting, "v0.10", 2}, "failed": {pai.OutcomeFailed, "v0.10", 2},
		"another target": {pai.OutcomeWaiting, "v0.11", 1}, "done": {pai.OutcomeSucceeded, "v0.10", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t)
			journal := run.NewJournal(f.files)
			entry, err := journal.Begin(t.Context(), pai.Operation{Verb: pai.VerbUpgrade, To: upgradedPair, Target: pai.UpgradeTarget{Release: "v0.10"}})
			if err == nil {
				err = entry.End(t.Context(), c.outcome, nil, pai.Report{})
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := Run(t.Context(), f.Session, doneUpgrade{Upgrade(plan.Target{Release: c.to}).(upgrade)}, RunOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			all := f.operations()
			if len(all) != c.want {
				t.Fatalf("got %+v, want %d operations", all, c.want)
			}
			if last := all[len(all)-1]; c.want == 2 && (last.Outcome != pai.OutcomeSucceeded || (last.Continues == entry.Operation().ID) != (c.outcome == pai.OutcomeWaiting)) {
				t.Errorf("got %+v, want the upgrade continued to its end", last)
			}
			if left, err := Unfinished(t.Context(), f.Session); err != nil || (left != nil) != (c.to == "v0.11") {
				t.Errorf("got %+v, %v left to resume", left, err)
			}
		})
	}
}
