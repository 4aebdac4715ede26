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

// A rollback that stopped the API server is the same one when it is given again, and so is a
// boot: the services that were observed before are unknown now. A rollback that continues
// without them does not claim them.
func TestRollbackResumesDuringAPIOutage(t *testing.T) {
	t.Parallel()
	ten, eleven := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}
	files := runtest.Dir(t.TempDir())
	s := testSession(t, files, nil)
	roles := map[plan.Role]plan.RoleState{plan.RoleAPIServerA: {Link: ten.Kubernetes, Running: ten.Kubernetes}, plan.RoleKubelet: {Link: eleven.Kubernetes, Running: eleven.Kubernetes}}
	in := plan.Input{Releases: s.Releases, World: plan.World{ClusterID: "lab", APIReachable: true, Current: pai.Pair{Services: "v0.11", Kubernetes: "v0.10-pai"},
		RecordedServices: "v0.11", Machines: []plan.MachineState{{Name: "gpu-01", ControlPlane: true, Roles: roles}},
		Services: map[string]plan.Installed{"kueue": {Release: "v0.11", Ready: true}}},
		Services: map[pai.ServicesVersion][]plan.ServiceSpec{"v0.10": {{Name: "kueue"}}, "v0.11": {{Name: "kueue"}}}}
	for _, r := range s.Releases {
		for _, m := range r.Migrations {
			in.World.Unmigrated = append(in.World.Unmigrated, m.Name)
		}
	}
	observed, err := plan.Rollback(in, ten, plan.Target{})
	if err != nil || observed.To != ten {
		t.Fatalf("got a rollback to %s, %v", observed.To, err)
	}
	in.World.APIReachable, in.World.Services, in.World.Current.Services = false, map[string]plan.Installed{}, ""
	outage, err := plan.Rollback(in, ten, plan.Target{})
	if err != nil || outage.To == ten {
		t.Fatalf("during an API outage, got a rollback to %s, %v", outage.To, err)
	}
	left := pai.Operation{Verb: pai.VerbRollback, From: eleven, To: observed.To}
	if !sameGoal(left, outage, pai.UpgradeTarget{}) || !sameGoal(pai.Operation{Verb: pai.VerbRollback, To: outage.To}, observed, pai.UpgradeTarget{}) {
		t.Errorf("a rollback to %s is not continued by one to %s, or the reverse", observed.To, outage.To)
	}
	began, err := run.NewJournal(files).Begin(t.Context(), left)
	if err != nil {
		t.Fatal(err)
	}
	o := newOperation(s, rollback{to: ten}, RunOptions{})
	o.preview.Plan, o.lock = outage, acquired(t, files)
	entry, resumed, err := o.beginEntry(t.Context())
	if err != nil || !resumed || entry.Operation().ID != began.Operation().ID {
		t.Fatalf("got resumed %v, %v", resumed, err)
	}
	if op := entry.Operation(); op.To != outage.To || op.From != eleven {
		t.Errorf("got a record from %s to %s, want the services as unknown", op.From, op.To)
	}
}

func acquired(t *testing.T, files runtest.Dir) *run.Lock {
	t.Helper()
	holder, err := run.ThisProcess("v0.10", pai.VerbRollback)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := run.Acquire(t.Context(), files, holder, run.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Release(context.WithoutCancel(t.Context())) })
	return lock
}

func TestSameVersions(t *testing.T) {
	t.Parallel()
	pair := func(s pai.ServicesVersion, k pai.KubernetesVersion) pai.Pair {
		return pai.Pair{Services: s, Kubernetes: k}
	}
	known, unknown := pair("v0.10", "v0.10-pai"), pair("", "v0.10-pai")
	for _, c := range []struct {
		verb pai.Verb
		a, b pai.Pair
		want bool
	}{
		{pai.VerbRollback, known, unknown, true}, {pai.VerbRollback, unknown, known, true}, {pai.VerbBoot, known, unknown, true}, {pai.VerbClean, known, unknown, true},
		{pai.VerbRollback, known, pair("v0.9", "v0.10-pai"), false}, {pai.VerbRollback, known, pair("", "v0.9-pai"), false},
		{pai.VerbClean, known, pai.Pair{}, false}, // with --delete-data
		{pai.VerbStopServices, known, unknown, false}, {pai.VerbUpgrade, unknown, known, false}, {pai.VerbUpgrade, known, known, true},
	} {
		if got := sameVersions(c.verb, c.a, c.b); got != c.want {
			t.Errorf("%s to %+v and to %+v: got the same %v, want %v", c.verb, c.a, c.b, got, c.want)
		}
	}
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
