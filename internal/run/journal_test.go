package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

func TestJournalOfOperationListsItsSteps(t *testing.T) {
	t.Parallel()
	ctx, store := context.Background(), runtest.Dir(t.TempDir())
	j := NewJournal(store)
	if ops, err := j.List(ctx); err != nil || ops == nil || len(ops) != 0 {
		t.Fatalf("a new journal lists %v, error %v", ops, err)
	}
	e, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade, By: "ann@desk", From: pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, To: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 { // steps are recorded in parallel
		all.Go(func() {
			id := fmt.Sprint("step", i)
			for _, o := range []pai.Outcome{pai.OutcomeRunning, pai.OutcomeSucceeded} {
				if err := e.Step(ctx, pai.StepRecord{ID: id, Outcome: o, Seconds: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()

	current, err := NewJournal(store).Current(ctx)
	if err != nil || current == nil || current.Verb != pai.VerbUpgrade || len(current.Steps) != 8 {
		t.Fatalf("another reader sees %+v, error %v", current, err)
	}
	for _, s := range current.Steps {
		if s.Outcome != pai.OutcomeSucceeded {
			t.Errorf("step %s is %s", s.ID, s.Outcome)
		}
	}

	interrupted, cancel := context.WithCancel(ctx)
	cancel() // the end is still written
	report := pai.Report{Jobs: pai.JobsReport{Before: 3, After: 3}, UnobservedSeconds: 1.5}
	if err := e.End(interrupted, pai.OutcomeFailed, errors.New("kubelet did not come back"), report); err != nil {
		t.Fatal(err)
	}
	ops, err := j.List(ctx)
	if err != nil || len(ops) != 1 {
		t.Fatalf("lists %v, error %v", ops, err)
	}
	op := ops[0]
	if op.Outcome != pai.OutcomeFailed || op.Error != "kubelet did not come back" || op.Jobs.Before != 3 || op.UnobservedSeconds != 1.5 || op.Ended.Before(op.Started) {
		t.Errorf("recorded %+v", op)
	}
	if current, err := j.Current(ctx); err != nil || current != nil {
		t.Errorf("an ended operation is current: %+v, error %v", current, err)
	}
	data, err := json.Marshal(op)
	if err != nil || !strings.Contains(string(data), `"interrupted":[]`) {
		t.Errorf("interrupted is not an empty list in %s", data)
	}
	info, err := os.Stat(store.At(j.file(op.ID)))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the journal file is %v, error %v", info.Mode(), err)
	}
}

func TestJournalListIsInOrderOfBegin(t *testing.T) {
	t.Parallel()
	ctx, store := context.Background(), runtest.Dir(t.TempDir())
	j := NewJournal(store)
	future := time.Now().UTC().Add(time.Hour).Format(idLayout) // written by a host whose clock is ahead
	write(t, store, j.file(future), fmt.Sprintf(`{"id":%q,"outcome":"succeeded"}`, future))
	write(t, store, j.file("not an id"), "{}")
	write(t, store, "/var/lib/pai/operations/.new-123", "half")
	var want []string
	for range 5 {
		e, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, e.Operation().ID)
	}
	ops, err := j.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range ops[1:] {
		got = append(got, op.ID)
	}
	if ops[0].ID != future || !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v after %s", got, want, future)
	}
	for _, op := range ops[1:5] {
		if op.Outcome != pai.OutcomeStopped || !strings.Contains(op.Error, "unfinished") {
			t.Errorf("operation %s, which was never ended, is %s: %s", op.ID, op.Outcome, op.Error)
		}
	}
}

func TestJournalResumeAppendsToOperation(t *testing.T) {
	t.Parallel()
	ctx, store := context.Background(), runtest.Dir(t.TempDir())
	first, err := NewJournal(store).Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Step(ctx, pai.StepRecord{ID: "a", Outcome: pai.OutcomeRunning}); err != nil {
		t.Fatal(err)
	}
	id := first.Operation().ID
	again, err := NewJournal(store).Resume(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Step(ctx, pai.StepRecord{ID: "a", Outcome: pai.OutcomeSucceeded}); err != nil {
		t.Fatal(err)
	}
	if err := again.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
		t.Fatal(err)
	}
	if op := again.Operation(); op.ID != id || len(op.Steps) != 1 || op.Steps[0].Outcome != pai.OutcomeSucceeded {
		t.Errorf("resumed operation is %+v", op)
	}
	if _, err := NewJournal(store).Resume(ctx, id); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("resuming an ended operation: %v", err)
	}
	if _, err := NewJournal(store).Resume(ctx, "20260101T000000.000Z"); pai.CodeOf(err) != pai.CodeNotFound {
		t.Errorf("resuming what is not there: %v", err)
	}
}

func TestJournalWithDamagedFileFails(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"half a file":    `{"id":"2099`,
		"empty":          "",
		"another's name": `{"id":"20260101T000000.000Z","outcome":"succeeded"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, store := context.Background(), runtest.Dir(t.TempDir())
			j := NewJournal(store)
			e, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
				t.Fatal(err)
			}
			damaged := "20990101T000000.000Z"
			write(t, store, j.file(damaged), content)

			ops, err := j.List(ctx)
			if len(ops) != 1 || err == nil || !strings.Contains(err.Error(), damaged) {
				t.Errorf("lists %d operations, error %v", len(ops), err)
			}
			if _, err := j.Current(ctx); err == nil || !strings.Contains(err.Error(), damaged) {
				t.Errorf("the current operation: error %v", err)
			}
			if _, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade}); err == nil {
				t.Error("an operation begins over a damaged journal")
			}
		})
	}
}

// A write that failed is made up for by the next.
func TestJournalAfterFailedWriteIsCompletedByNext(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	store := &faultyStore{Store: runtest.Dir(t.TempDir())}
	j := NewJournal(store)
	full := errors.New("no space left on device")
	store.set("CreateFile", full)
	if _, err := j.Begin(ctx, pai.Operation{}); !errors.Is(err, full) {
		t.Errorf("begin with a full disk: %v", err)
	}
	store.set("CreateFile", nil)
	e, err := j.Begin(ctx, pai.Operation{})
	if err != nil {
		t.Fatal(err)
	}
	store.set("AppendFile", full)
	if err := e.Step(ctx, pai.StepRecord{ID: "a", Outcome: pai.OutcomeRunning}); !errors.Is(err, full) {
		t.Errorf("record with a full disk: %v", err)
	}
	store.set("AppendFile", nil)
	if err := e.Step(ctx, pai.StepRecord{ID: "b", Outcome: pai.OutcomeRunning}); err != nil {
		t.Fatal(err)
	}
	if op, err := j.Current(ctx); err != nil || op == nil || len(op.Steps) != 2 {
		t.Errorf("recorded %+v, error %v, want steps a and b", op, err)
	}
	store.set("ReadDir", full)
	if _, err := j.List(ctx); !errors.Is(err, full) {
		t.Errorf("list of what cannot be read: %v", err)
	}
}

func write(t *testing.T, store Store, path, content string) {
	t.Helper()
	if err := store.WriteFile(context.Background(), path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestJournalNewestReadsNewestFirst(t *testing.T) {
	t.Parallel()
	ctx, j := context.Background(), NewJournal(runtest.Dir(t.TempDir()))
	for _, verb := range []pai.Verb{pai.VerbUpgrade, pai.VerbStartServices, pai.VerbUpgrade, pai.VerbBoot} {
		e, err := j.Begin(ctx, pai.Operation{Verb: verb})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	err := j.Newest(ctx, func(op pai.Operation) bool {
		seen = append(seen, string(op.Verb))
		return op.Verb == pai.VerbUpgrade
	})
	if got := strings.Join(seen, " "); err != nil || got != "k8s-bootup upgrade" {
		t.Errorf("read %q, error %v", got, err)
	}
}

// A process that has lost its lock writes nothing into the journal.
func TestJournalAfterLostLockWritesNothing(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), runtest.Dir(t.TempDir())
	l := acquire(t, store, me(t), LockOptions{})
	j := NewJournal(store).Under(l)
	entry, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
	if err != nil {
		t.Fatal(err)
	}
	if err := entry.Step(ctx, pai.StepRecord{ID: "a", Outcome: pai.OutcomeRunning}); err != nil {
		t.Fatal(err)
	}
	if err := l.markLost(ErrLost); err == nil {
		t.Fatal("got no error of a lost lock")
	}
	if err := entry.Step(ctx, pai.StepRecord{ID: "a", Outcome: pai.OutcomeFailed}); !errors.Is(err, ErrLost) {
		t.Errorf("got error %v of a step, want ErrLost", err)
	}
	if err := entry.End(ctx, pai.OutcomeFailed, nil, pai.Report{}); !errors.Is(err, ErrLost) {
		t.Errorf("got error %v of the end, want ErrLost", err)
	}
	if _, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade}); !errors.Is(err, ErrLost) {
		t.Errorf("got error %v of another operation, want ErrLost", err)
	}
	stored, err := NewJournal(store).List(ctx)
	if err != nil || len(stored) != 1 || stored[0].Outcome != pai.OutcomeRunning || stored[0].Steps[0].Outcome != pai.OutcomeRunning {
		t.Errorf("got %+v, error %v, want the record of before the loss", stored, err)
	}
	if op := entry.Operation(); op.Outcome != pai.OutcomeRunning || op.Steps[0].Outcome != pai.OutcomeRunning {
		t.Errorf("got record %+v, want it unchanged", op)
	}
	l.stop()
}
