package operation

import (
	"context"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/run/runtest"
	"pai.dev/pai/internal/session"
)

// TestLastUpgrade: an upgrade is gone on with until it has succeeded or
// something has taken its place; starting services is nothing of the kind. Of
// one that was given up it is known by which operation.
func TestLastUpgrade(t *testing.T) {
	t.Parallel()
	upgrade := func(o pai.Outcome) pai.Operation { return pai.Operation{Verb: pai.VerbUpgrade, Outcome: o} }
	abandon := func(o pai.Outcome) pai.Operation { return pai.Operation{Verb: pai.VerbAbandon, Outcome: o} }
	const done, waits, failed, running = pai.OutcomeSucceeded, pai.OutcomeWaiting, pai.OutcomeFailed, pai.OutcomeRunning
	for _, c := range []struct {
		name       string
		operations []pai.Operation
		unfinished bool
		last       int // the operation that is the last upgrade, counted from 1; 0 for none
		abandoned  int // likewise, the one that gave it up
	}{
		{"none", nil, false, 0, 0},
		{"waits", []pai.Operation{upgrade(waits)}, true, 1, 0},
		{"waits, services started since", []pai.Operation{upgrade(waits), {Verb: pai.VerbStartServices, Outcome: done}}, true, 1, 0},
		{"failed", []pai.Operation{upgrade(failed)}, true, 1, 0},
		{"gone on with", []pai.Operation{upgrade(waits), upgrade(done)}, false, 2, 0},
		{"given up", []pai.Operation{upgrade(waits), abandon(done)}, false, 1, 2},
		{"given up twice", []pai.Operation{upgrade(waits), abandon(done), abandon(done)}, false, 1, 2},
		{"given up, services started since", []pai.Operation{upgrade(failed), abandon(done), {Verb: pai.VerbStartServices, Outcome: done}}, false, 1, 2},
		{"given up and begun anew", []pai.Operation{upgrade(waits), abandon(done), upgrade(waits)}, true, 3, 0},
		{"given up, then gone back", []pai.Operation{upgrade(waits), abandon(done), {Verb: pai.VerbRollback, Outcome: done}}, false, 0, 0},
		{"gone back", []pai.Operation{upgrade(waits), {Verb: pai.VerbRollback, Outcome: done}}, false, 0, 0},
		{"done, and a cordon taken back since", []pai.Operation{upgrade(done), abandon(done)}, false, 1, 0},
		{"giving up failed", []pai.Operation{upgrade(waits), abandon(failed)}, true, 1, 0},
		{"killed", []pai.Operation{upgrade(running)}, true, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			journal, ids := run.NewJournal(runtest.Dir(t.TempDir())), []string{""}
			for _, op := range c.operations {
				e, err := journal.Begin(t.Context(), op)
				if err != nil {
					t.Fatal(err)
				}
				if op.Outcome != pai.OutcomeRunning {
					if err := e.End(t.Context(), op.Outcome, nil, pai.Report{}); err != nil {
						t.Fatal(err)
					}
				}
				ids = append(ids, e.Operation().ID)
			}
			left, err := lastUpgrade(t.Context(), journal)
			if err != nil || (left != nil && left.Unfinished()) != c.unfinished {
				t.Errorf("left is %+v, error %v; want it unfinished: %v", left, err, c.unfinished)
			}
			last, abandoned, err := lastOrAbandoned(t.Context(), journal)
			if err != nil || idOf(last) != ids[c.last] || idOf(abandoned) != ids[c.abandoned] {
				t.Errorf("last is %q, given up by %q, error %v; operations are %q, want number %d and %d", idOf(last), idOf(abandoned), err, ids[1:], c.last, c.abandoned)
			}
		})
	}
}

func idOf(op *pai.Operation) string {
	if op == nil {
		return ""
	}
	return op.ID
}

// TestAbandonPlan: giving up takes back PAI's own cordons, and no others; which
// they are has to be known.
func TestAbandonPlan(t *testing.T) {
	t.Parallel()
	w := plan.World{APIReachable: true, Machines: []plan.Machine{
		{Name: "ours", Node: &plan.Node{Unschedulable: true, CordonedByPAI: true, CordonedBy: "op-1"}},
		{Name: "theirs", Node: &plan.Node{Unschedulable: true}}, {Name: "free", Node: &plan.Node{}}, {Name: "unknown"}}}
	p, err := abandonPlan(w)
	if err != nil || len(p.Steps) != 1 || p.Steps[0].Kind != plan.KindUncordon || p.Steps[0].Target != "ours" {
		t.Errorf("steps %+v, error %v", p.Steps, err)
	}
	if _, err := abandonPlan(plan.World{APIError: "connection refused"}); err == nil || pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("while the API is away: %v, want a refusal that says so", err)
	}
}

// TestRecordIsAllThereIsToDo: an upgrade without a machine that PAI cordoned can
// be given up as well.
func TestRecordIsAllThereIsToDo(t *testing.T) {
	t.Parallel()
	goal := Goal{Verb: pai.VerbAbandon, record: func(context.Context) (bool, error) { return true, nil }}
	if left, err := newOperation(&session.Session{}).needsRecordOnly(t.Context(), goal, plan.Plan{}); err != nil || !left {
		t.Errorf("an operation to record: %v, error %v", left, err)
	}
}

// TestTook: the record names every risk that was accepted, also one that was
// when a killed operation was gone on with.
func TestTook(t *testing.T) {
	t.Parallel()
	op := pai.Operation{AcceptedRisks: []string{"evict-jobs:b"}}
	RunOptions{Accept: []string{"evict-jobs:a", "evict-jobs:b"}, SkipChecks: []string{"pod-owners"}}.addAccepted(&op)
	if got := strings.Join(append(op.AcceptedRisks, op.SkippedChecks...), " "); got != "evict-jobs:a evict-jobs:b pod-owners" {
		t.Errorf("recorded: %s", got)
	}
}
