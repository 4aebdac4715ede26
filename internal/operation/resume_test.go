package operation

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// An upgrade can be resumed until it succeeds, is abandoned, or is superseded;
// starting services does not supersede it.
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
		abandoned  int // likewise, the one that abandoned it
	}{
		{"none", nil, false, 0, 0},
		{"waits", []pai.Operation{upgrade(waits)}, true, 1, 0},
		{"waits, later services started", []pai.Operation{upgrade(waits), {Verb: pai.VerbStartServices, Outcome: done}}, true, 1, 0},
		{"failed", []pai.Operation{upgrade(failed)}, true, 1, 0},
		{"resumed", []pai.Operation{upgrade(waits), upgrade(done)}, false, 2, 0},
		{"abandoned", []pai.Operation{upgrade(waits), abandon(done)}, false, 1, 2},
		{"abandoned twice", []pai.Operation{upgrade(waits), abandon(done), abandon(done)}, false, 1, 2},
		{"abandoned, later services started", []pai.Operation{upgrade(failed), abandon(done), {Verb: pai.VerbStartServices, Outcome: done}}, false, 1, 2},
		{"abandoned and started again", []pai.Operation{upgrade(waits), abandon(done), upgrade(waits)}, true, 3, 0},
		{"abandoned, then rolled back", []pai.Operation{upgrade(waits), abandon(done), {Verb: pai.VerbRollback, Outcome: done}}, false, 0, 0},
		{"rolled back", []pai.Operation{upgrade(waits), {Verb: pai.VerbRollback, Outcome: done}}, false, 0, 0},
		{"done, later machine uncordoned", []pai.Operation{upgrade(done), abandon(done)}, false, 1, 0},
		{"abandon failed", []pai.Operation{upgrade(waits), abandon(failed)}, true, 1, 0},
		{"killed", []pai.Operation{upgrade(running)}, true, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			journal := run.NewJournal(runtest.Dir(t.TempDir()))
			ids := append([]string{""}, recordAll(t, journal, c.operations)...)
			left, err := lastUpgrade(t.Context(), journal)
			if err != nil || (left != nil && left.Unfinished()) != c.unfinished {
				t.Errorf("got unfinished %+v, error %v; want unfinished %v", left, err, c.unfinished)
			}
			s, err := searchUpgrade(t.Context(), journal)
			last, abandoned := s.last, s.abandons()
			if err != nil || idOf(last) != ids[c.last] || idOf(abandoned) != ids[c.abandoned] {
				t.Errorf("got last %q, abandoned by %q, error %v; operations are %q, want number %d and %d", idOf(last), idOf(abandoned), err, ids[1:], c.last, c.abandoned)
			}
		})
	}
}

// Only an operation that does again what an unfinished one began skips the checks that
// a partly changed cluster cannot pass: it has the same verb and the same target.
func TestResumes(t *testing.T) {
	t.Parallel()
	old, next := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}
	mixed := pai.Pair{Services: "v0.10", Kubernetes: "v0.11-pai"}
	const done, waits, failed, running = pai.OutcomeSucceeded, pai.OutcomeWaiting, pai.OutcomeFailed, pai.OutcomeRunning
	op := func(verb pai.Verb, to pai.Pair, o pai.Outcome) pai.Operation {
		return pai.Operation{Verb: verb, From: mixed, To: to, Outcome: o}
	}
	for _, c := range []struct {
		name       string
		operations []pai.Operation // oldest first
		verb       pai.Verb
		to         pai.Pair
		want       bool
	}{
		{"first operation", nil, pai.VerbUpgrade, next, false},
		{"killed", []pai.Operation{op(pai.VerbUpgrade, next, running)}, pai.VerbUpgrade, next, true},
		{"failed", []pai.Operation{op(pai.VerbUpgrade, next, failed)}, pai.VerbUpgrade, next, true},
		{"waits", []pai.Operation{op(pai.VerbUpgrade, next, waits)}, pai.VerbUpgrade, next, true},
		{"newer target", []pai.Operation{op(pai.VerbUpgrade, old, waits)}, pai.VerbUpgrade, next, false},
		{"older target", []pai.Operation{op(pai.VerbUpgrade, next, failed)}, pai.VerbUpgrade, mixed, false},
		{"done", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbUpgrade, next, done)}, pai.VerbUpgrade, next, false},
		{"services refreshed since", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbRefresh, old, done)}, pai.VerbUpgrade, next, true},
		{"a refresh failed since", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbRefresh, old, failed)}, pai.VerbUpgrade, next, true},
		{"only services failed", []pai.Operation{op(pai.VerbUpgrade, next, done), op(pai.VerbStartServices, next, failed)}, pai.VerbUpgrade, next, false},
		{"the same services failed", []pai.Operation{op(pai.VerbStartServices, next, failed)}, pai.VerbStartServices, next, true},
		{"backed up since", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbBackup, old, failed)}, pai.VerbUpgrade, next, true},
		{"abandoned", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbAbandon, mixed, done)}, pai.VerbUpgrade, next, false},
		{"boot killed", []pai.Operation{op(pai.VerbBoot, old, running)}, pai.VerbBoot, old, true},
		{"boot killed, then an upgrade", []pai.Operation{op(pai.VerbBoot, old, running)}, pai.VerbUpgrade, next, false},
		{"clean killed, then a boot", []pai.Operation{op(pai.VerbClean, pai.Pair{}, running)}, pai.VerbBoot, old, false},
		{"rollback killed, then again", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbRollback, old, running)}, pai.VerbRollback, old, true},
		{"rollback killed, then the upgrade again", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbRollback, old, running)}, pai.VerbUpgrade, next, true},
		{"rollback of a complete upgrade killed", []pai.Operation{op(pai.VerbUpgrade, next, done), op(pai.VerbRollback, old, running)}, pai.VerbUpgrade, next, true},
		{"rollback killed, then another upgrade", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbRollback, old, running)}, pai.VerbUpgrade, mixed, false},
		{"rollback killed, then again during an API outage", []pai.Operation{op(pai.VerbRollback, old, running)}, pai.VerbRollback, pai.Pair{Kubernetes: "v0.10-pai"}, true},
		{"rolled back", []pai.Operation{op(pai.VerbUpgrade, next, failed), op(pai.VerbRollback, old, done)}, pai.VerbUpgrade, next, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			journal := run.NewJournal(runtest.Dir(t.TempDir()))
			recordAll(t, journal, c.operations)
			if got, err := resumes(t.Context(), journal, c.verb, c.to); err != nil || got != c.want {
				t.Errorf("got %v, error %v; want %v", got, err, c.want)
			}
		})
	}
}

// recordAll records operations, oldest first, and returns their IDs.
func recordAll(t *testing.T, journal *run.Journal, operations []pai.Operation) (ids []string) {
	t.Helper()
	for _, op := range operations {
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
	return ids
}

func idOf(op *pai.Operation) string {
	if op == nil {
		return ""
	}
	return op.ID
}

// Abandon uncordons the machines that PAI cordoned and no others. It is refused
// if these machines are unknown.
func TestAbandonUncordonsOnlyPAICordons(t *testing.T) {
	t.Parallel()
	w := plan.World{APIReachable: true, Machines: []plan.MachineState{
		{Name: "ours", Node: &plan.Node{Unschedulable: true, CordonedByPAI: true, CordonedBy: "op-1"}},
		{Name: "theirs", Node: &plan.Node{Unschedulable: true}}, {Name: "free", Node: &plan.Node{}}, {Name: "unknown"}}}
	p, err := Abandon().Plan(plan.Input{World: w})
	if err != nil || len(p.Steps) != 1 || p.Steps[0].Kind != plan.KindUncordon || p.Steps[0].Target != "ours" {
		t.Errorf("steps %+v, error %v", p.Steps, err)
	}
	if _, err := Abandon().Plan(plan.Input{World: plan.World{APIError: "connection refused"}}); err == nil || pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("API server unavailable: got %v, want a refusal with the reason", err)
	}
}

// A record is needed for an abandoned upgrade without cordoned machines.
func TestAbandonIsRecordedWithoutSteps(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	o := newOperation(testSession(t, files, nil), Abandon(), RunOptions{})
	if needed, err := o.needsRecordOnly(t.Context()); needed || err != nil {
		t.Errorf("without an upgrade: got %v, %v, want false", needed, err)
	}
	if _, err := run.NewJournal(files).Begin(t.Context(), pai.Operation{Verb: pai.VerbUpgrade}); err != nil {
		t.Fatal(err)
	}
	if needed, err := o.needsRecordOnly(t.Context()); !needed || err != nil {
		t.Errorf("with an unfinished upgrade: got %v, %v, want true", needed, err)
	}
}

// The record has every accepted risk, also those of an earlier run.
func TestResumeAddsAcceptedRisks(t *testing.T) {
	t.Parallel()
	op := pai.Operation{AcceptedRisks: []string{"evict-jobs:b"}}
	RunOptions{Accept: []string{"evict-jobs:a", "evict-jobs:b"}, SkipChecks: []string{"pod-owners"}}.addAccepted(&op)
	if got, want := strings.Join(append(op.AcceptedRisks, op.SkippedChecks...), " "), "evict-jobs:a evict-jobs:b pod-owners"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
