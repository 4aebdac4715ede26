package operation

import (
	"context"
	"errors"
	"testing"
	"time"

	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/inspecttest"
	"pai.dev/pai/test/runtest"
)

// restoreRun is an operation that restores etcd, up to the restore.
func restoreRun(t *testing.T, containers ...inspect.Container) (*execution, runtest.Dir) {
	t.Helper()
	files := runtest.Dir(t.TempDir())
	s := testSession(t, files, func(_ context.Context, c machine.Command) (machine.Output, error) {
		_, err := inspecttest.AnswerWith(c, func(inspect.Request) inspect.Report {
			return inspect.Report{Activity: &inspect.Activity{Boot: "b", Containers: containers}}
		})
		return machine.Output{}, err
	})
	entry, err := run.NewJournal(files).Begin(t.Context(), pai.Operation{Verb: pai.VerbRollback})
	if err != nil {
		t.Fatal(err)
	}
	o := newOperation(s, rollback{}, RunOptions{})
	o.preview.Plan.Steps = []plan.Step{{ID: "restore", Kind: plan.KindRestore}}
	o.recorder.into(entry)
	return &execution{operation: o, entry: entry, orphanTimeout: orphanTimeout}, files
}

func jobIn(t *testing.T, files runtest.Dir, name string) pai.RestoredJob {
	t.Helper()
	all, err := run.NewJournal(files).List(t.Context())
	if err != nil || len(all) == 0 || all[len(all)-1].Restored == nil {
		t.Fatalf("got journal %+v, %v", all, err)
	}
	for _, j := range all[len(all)-1].Restored.Jobs {
		if j.Job == "ann~"+name {
			return j
		}
	}
	t.Fatalf("got %+v without ann~%s", all[len(all)-1].Restored, name)
	return pai.RestoredJob{}
}

// The journal has the jobs before etcd is replaced, and afterwards what the
// machines report about the containers.
func TestRestoreIsRecorded(t *testing.T) {
	t.Parallel()
	then, now := worlds(t)
	x, files := restoreRun(t)
	carry, err := x.restoring(t.Context(), lossOf(then, now))
	if err != nil || len(carry.Keep) != 3 || len(carry.Remove) != 2 {
		t.Fatalf("got %+v, %v", carry, err)
	}
	if j := jobIn(t, files, "new"); j.Containers != pai.ContainersUnknown || j.Ran[0] != (pai.RanContainer{Pod: j.Ran[0].Pod, Name: "task", Machine: "gpu-01", ID: "newa"}) {
		t.Errorf("before the restore, got %+v", j)
	}
	for _, outcome := range []pai.Outcome{pai.OutcomeFailed, pai.OutcomeSucceeded} {
		if err := x.settleRestore(t.Context(), run.Result{Steps: []pai.StepRecord{{ID: "restore", Outcome: outcome}}}); err != nil {
			t.Fatal(err)
		}
		done := outcome == pai.OutcomeSucceeded
		if r := x.entry.Operation().Restored; r.Done.IsZero() == done {
			t.Errorf("%s: got done %s", outcome, r.Done)
		}
		if j := jobIn(t, files, "new"); (j.Containers == pai.ContainersDeleted) != done {
			t.Errorf("%s: got containers %s", outcome, j.Containers)
		}
	}
}

// What an earlier run recorded before it stopped etcd stays.
func TestUnknownLossKeepsEarlierRecord(t *testing.T) {
	t.Parallel()
	then, now := worlds(t)
	x, files := restoreRun(t)
	loss := lossOf(then, now)
	loss.Unknown = "etcd did not run"
	if _, err := x.restoring(t.Context(), loss); err != nil || x.entry.Operation().Restored.Unknown == "" {
		t.Fatalf("got %+v, %v, want an unknown record", x.entry.Operation().Restored, err)
	}
	if _, err := x.restoring(t.Context(), lossOf(then, now)); err != nil {
		t.Fatal(err)
	}
	carry, err := x.restoring(t.Context(), loss)
	if err != nil || len(carry.Keep)+len(carry.Remove) > 0 || x.entry.Operation().Restored.Unknown != "" {
		t.Errorf("got %+v, %+v, %v", carry, x.entry.Operation().Restored, err)
	}
	jobIn(t, files, "brief")
}

// A job that is neither in the snapshot nor in the cluster is named if an operation
// saw it.
func TestJobsThatOnlyAWitnessSaw(t *testing.T) {
	t.Parallel()
	then, now := worlds(t)
	x, files := restoreRun(t)
	loss := lossOf(then, now)
	id := x.entry.Operation().ID
	for name, watched := range map[string]time.Time{id: time.Now()} {
		b := witness.Baseline{Taken: watched, LastWatched: watched, Jobs: []witness.WatchedJob{
			{JobRef: pai.JobRef{User: "ann", Name: "vanished"}, Namespace: storedIn, Object: "ann-vanished-x"},
			{JobRef: pai.JobRef{User: "ann", Name: "same"}, Namespace: storedIn, Object: objectOf("same")},
		}}
		if err := files.WriteFile(t.Context(), baselineFile(name), encode(t, b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.restoring(t.Context(), loss); err != nil {
		t.Fatal(err)
	}
	if j := jobIn(t, files, "vanished"); j.Record != pai.RecordSeen || j.SeenBy != id {
		t.Errorf("got %+v", j)
	}
	for _, j := range x.entry.Operation().Restored.Jobs {
		if j.Job == "ann~same" {
			t.Errorf("got %+v of a job that does not change", j)
		}
	}
}

// Containers that no longer run are not waited for, and those that do are, until the
// time is over.
func TestRestoreWaitsOnlyForContainersThatRun(t *testing.T) {
	t.Parallel()
	succeeded := run.Result{Steps: []pai.StepRecord{{ID: "restore", Outcome: pai.OutcomeSucceeded}}}
	for _, c := range []struct {
		name    string
		running []inspect.Container
		waits   bool
		want    pai.ContainersOutcome
	}{
		{"all ended", nil, false, pai.ContainersDeleted},
		{"another job runs", []inspect.Container{{ID: "other"}}, false, pai.ContainersDeleted},
		{"one still runs", []inspect.Container{{ID: "newa"}}, true, pai.ContainersOrphan},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			then, now := worlds(t)
			x, files := restoreRun(t, c.running...)
			if _, err := x.restoring(t.Context(), lossOf(then, now)); err != nil {
				t.Fatal(err)
			}
			x.orphanTimeout = 3 * time.Second
			if !c.waits {
				x.orphanTimeout = time.Hour
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := x.settleRestore(ctx, succeeded); err != nil || ctx.Err() != nil {
				t.Fatalf("got %v, context %v, want an end before the test's own", err, ctx.Err())
			}
			if j := jobIn(t, files, "new"); j.Containers != c.want {
				t.Errorf("got containers %s, want %s", j.Containers, c.want)
			}
		})
	}
}

func TestContainersOutcome(t *testing.T) {
	t.Parallel()
	report := func(err error, ids ...string) running.MachineReport {
		r := running.MachineReport{Err: err}
		for _, id := range ids {
			r.Containers = append(r.Containers, running.Container{ID: id})
		}
		return r
	}
	ran := []pai.RanContainer{{Machine: "a", ID: "1"}, {Machine: "b", ID: "2"}}
	for _, c := range []struct {
		a, b running.MachineReport
		want pai.ContainersOutcome
	}{
		{report(nil), report(nil, "1"), pai.ContainersDeleted},
		{report(nil), report(nil, "2"), pai.ContainersOrphan},
		{report(errors.New("unreachable")), report(nil), pai.ContainersUnknown},
		{report(errors.New("unreachable")), report(nil, "2"), pai.ContainersOrphan},
	} {
		if got := containersOutcome(ran, map[string]running.MachineReport{"a": c.a, "b": c.b}); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	if got := containersOutcome(ran, nil); got == pai.ContainersDeleted {
		t.Error("a machine that was not asked counts as observed")
	}
}
