package operation

import (
	"context"
	"maps"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// An operation that was killed after its last step is unfinished for a command
// with the same goal, and for no other.
func TestIsUnfinishedAfterKill(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), runtest.Dir(t.TempDir())
	to := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	same := plan.Plan{Verb: pai.VerbUpgrade, To: to}
	expect := func(when string, p plan.Plan, want bool) {
		t.Helper()
		if got, err := isUnfinished(ctx, run.NewJournal(store), p, pai.UpgradeTarget{}); err != nil || got != want {
			t.Errorf("%s: got %v (error %v), want %v", when, got, err, want)
		}
	}
	expect("no operation yet", same, false)
	entry, err := run.NewJournal(store).Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade, To: to})
	if err != nil {
		t.Fatal(err)
	}
	expect("killed", same, true)
	expect("killed, another verb", plan.Plan{Verb: pai.VerbBoot, To: to}, false)
	expect("killed, another goal", plan.Plan{Verb: pai.VerbUpgrade, To: pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}}, false)
	if err := entry.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
		t.Fatal(err)
	}
	expect("ended", same, false)
}

// Staging does not change versions, so its target decides which command resumes
// it. An upgrade never resumes a staging.
func TestStagingResumesByTarget(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), runtest.Dir(t.TempDir())
	journal := run.NewJournal(store)
	now := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}
	failed, err := journal.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade, From: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := failed.End(ctx, pai.OutcomeFailed, nil, pai.Report{}); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.Begin(ctx, pai.Operation{Verb: pai.VerbStage, From: now, To: now, Target: pai.UpgradeTarget{Release: "v0.10"}}); err != nil {
		t.Fatal(err)
	}
	stage := plan.Plan{Verb: pai.VerbStage, From: now, To: now}
	for target, want := range map[pai.UpgradeTarget]bool{{Release: "v0.10"}: true, {Release: "v0.11"}: false, {Release: "v0.10", Part: pai.PartServices}: false} {
		if got, err := isUnfinished(ctx, run.NewJournal(store), stage, target); err != nil || got != want {
			t.Errorf("stage for %+v after a killed stage for v0.10: got resume %v (error %v), want %v", target, got, err, want)
		}
	}
	if last, err := lastOperation(ctx, journal); err != nil || last == nil || last.Verb != pai.VerbUpgrade {
		t.Errorf("last operation before an upgrade: got %+v (error %v), want the failed upgrade", last, err)
	}
}

// A recorded step that a new plan does not have is done.
func TestPlannedSteps(t *testing.T) {
	t.Parallel()
	recorded := []pai.StepRecord{{ID: "a", Outcome: pai.OutcomeSucceeded, Seconds: 2}, {ID: "b", Outcome: pai.OutcomeRunning}, {ID: "c", Outcome: pai.OutcomePending}}
	got := map[string]pai.Outcome{}
	for _, s := range plannedSteps(recorded, plan.Plan{Steps: []plan.Step{{ID: "c"}, {ID: "d"}}}) {
		got[s.ID] = s.Outcome
	}
	want := map[string]pai.Outcome{"a": pai.OutcomeSucceeded, "b": pai.OutcomeSkipped, "c": pai.OutcomePending, "d": pai.OutcomePending}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// readCounter counts the operations that are read.
type readCounter struct {
	runtest.Dir
	reads int
}

func (s *readCounter) ReadFile(ctx context.Context, path string) ([]byte, error) {
	s.reads++
	return s.Dir.ReadFile(ctx, path)
}

// What the last operation was costs one read, however long the journal is.
func TestLastOperationReadsOne(t *testing.T) {
	t.Parallel()
	store := &readCounter{Dir: runtest.Dir(t.TempDir())}
	journal := run.NewJournal(store)
	for range 20 {
		entry, err := journal.Begin(t.Context(), pai.Operation{Verb: pai.VerbUpgrade, From: pai.Pair{Kubernetes: "v0.9-pai"}})
		if err == nil {
			err = entry.End(t.Context(), pai.OutcomeSucceeded, nil, pai.Report{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, read := range map[string]func() error{
		"lastOperation": func() error { _, err := lastOperation(t.Context(), journal); return err },
		"lastUpgrade":   func() error { _, err := lastUpgrade(t.Context(), journal); return err },
		"isUnfinished": func() error {
			_, err := isUnfinished(t.Context(), journal, plan.Plan{}, pai.UpgradeTarget{})
			return err
		},
	} {
		store.reads = 0
		if err := read(); err != nil || store.reads != 1 {
			t.Errorf("%s: got %d reads, error %v, want 1", name, store.reads, err)
		}
	}
}
