package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

// For any changes, failed writes, and kills: what is read is the record as it
// was when a change returned without an error, or that of a later change.
func TestJournalOfAnyHistoryIsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		store := &faultyStore{Store: runtest.Dir(t.TempDir())}
		entry, err := NewJournal(store).Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
		if err != nil {
			rt.Fatal(err)
		}
		id := entry.Operation().ID
		stored := []string{text(rt, entry.Operation())} // from the last one that is on disk on
		for range rapid.IntRange(1, 20).Draw(rt, "changes") {
			store.leaves = rapid.IntRange(0, 80).Draw(rt, "bytes of a failed write")
			full := map[bool]error{true: errors.New("no space left on device")}[rapid.IntRange(0, 4).Draw(rt, "fails") == 0]
			store.set("AppendFile", full)
			store.set("WriteFile", full)
			ended := false
			switch rapid.IntRange(0, 6).Draw(rt, "change") {
			case 0, 1, 2:
				err = entry.Steps(ctx, rapid.SliceOfN(rapid.Custom(anyStep), 1, 3).Draw(rt, "steps"))
			case 3:
				machine := rapid.StringMatching("[a-c]").Draw(rt, "machine")
				err = entry.Update(ctx, func(op *pai.Operation) { op.Cordoned = append(op.Cordoned, pai.Cordon{Machine: machine}) })
			case 4:
				err = entry.Update(ctx, func(op *pai.Operation) { op.Waiting, op.Revision = nil, op.Revision+1 })
			case 5:
				err = entry.Update(ctx, func(op *pai.Operation) {
					op.Steps = []pai.StepRecord{{ID: "planned", Outcome: pai.OutcomePending}}
					op.Waiting = append(op.Waiting, pai.Waiting{Machine: "a", Reason: "line\nbreak"})
				})
			case 6:
				ended = true
				err = entry.End(ctx, pai.OutcomeFailed, errors.New("stopped"), pai.Report{UnobservedSeconds: 1})
			}
			if (err == nil) != (full == nil) && err != nil {
				rt.Fatal(err)
			}
			stored = append(stored, text(rt, entry.Operation()))
			if err == nil {
				stored = stored[len(stored)-1:]
			}
			got, err := NewJournal(store).Get(ctx, id)
			if err != nil {
				rt.Fatal(err)
			}
			if now := text(rt, got); !contains(stored, now) {
				rt.Fatalf("got %s\nwant one of\n%s", now, strings.Join(stored, "\n"))
			}
			if ended && err == nil && got.Outcome != pai.OutcomeRunning {
				return
			}
			if rapid.IntRange(0, 4).Draw(rt, "killed") == 0 && got.Outcome == pai.OutcomeRunning {
				if entry, err = NewJournal(store).Resume(ctx, id); err != nil {
					rt.Fatal(err)
				}
				stored = []string{text(rt, entry.Operation())}
			}
		}
	})
}

func anyStep(t *rapid.T) pai.StepRecord {
	return pai.StepRecord{ID: rapid.StringMatching("[a-d]").Draw(t, "id"), Seconds: float64(rapid.IntRange(0, 9).Draw(t, "seconds")),
		Outcome: rapid.SampledFrom([]pai.Outcome{pai.OutcomeRunning, pai.OutcomeSucceeded}).Draw(t, "outcome"),
		Error:   rapid.SampledFrom([]string{"", "two\nlines", "{}"}).Draw(t, "error")}
}

func text(t rapid.TB, op pai.Operation) string {
	data, err := json.Marshal(op)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func contains(texts []string, s string) bool {
	for _, t := range texts {
		if t == s {
			return true
		}
	}
	return false
}

// runSteps records n steps like an operation does, from several goroutines.
func runSteps(t *testing.T, store Store, n int) pai.Operation {
	t.Helper()
	ctx := t.Context()
	entry, err := NewJournal(store).Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
	if err != nil {
		t.Fatal(err)
	}
	var planned []pai.StepRecord
	for i := range n {
		planned = append(planned, pai.StepRecord{ID: fmt.Sprintf("kubernetes/v0.10-pai/machine/gpu-%05d/kubelet", i), Outcome: pai.OutcomePending})
	}
	if err := entry.Update(ctx, func(op *pai.Operation) { op.Steps = planned }); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for part := range 4 {
		all.Go(func() {
			for i := part; i < n; i += 4 {
				err := entry.Update(ctx, func(op *pai.Operation) {
					op.Cordoned = append(op.Cordoned, pai.Cordon{Machine: fmt.Sprintf("gpu-%05d", i), At: time.Now()})
				})
				running, done := planned[i], planned[i]
				running.Outcome, done.Outcome, done.Seconds = pai.OutcomeRunning, pai.OutcomeSucceeded, 1.5
				if err := errors.Join(err, entry.Step(ctx, running), entry.Step(ctx, done)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := entry.Steps(ctx, entry.Operation().Steps); err != nil { // as the operation ends: nothing new
		t.Fatal(err)
	}
	return entry.Operation()
}

func TestJournalTrafficIsLinearInSteps(t *testing.T) {
	t.Parallel()
	perStep := func(n int) float64 {
		store := &countingStore{Store: runtest.Dir(t.TempDir())}
		runSteps(t, store, n)
		if writes := store.writes.Load(); writes > int64(3*n+2) {
			t.Errorf("%d steps: got %d writes, want at most 3 for each step", n, writes)
		}
		return float64(store.bytes.Load()) / float64(n)
	}
	few, many := perStep(50), perStep(1000)
	if many > few*1.05 || many > 600 {
		t.Errorf("got %.0f bytes per step with 50 steps and %.0f with 1000, want the same, at most 600", few, many)
	}
}

func TestJournalNewestReadsOneOperation(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), &countingStore{Store: runtest.Dir(t.TempDir())}
	j := NewJournal(store)
	for range 20 {
		e, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.End(ctx, pai.OutcomeSucceeded, nil, pai.Report{}); err != nil {
			t.Fatal(err)
		}
	}
	store.reads.Store(0)
	if err := j.Newest(ctx, func(pai.Operation) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Current(ctx); err != nil {
		t.Fatal(err)
	}
	if n := store.reads.Load(); n != 2 {
		t.Errorf("got %d files read by Newest and Current, want one each", n)
	}
}

func TestJournalWithDamagedLog(t *testing.T) {
	t.Parallel()
	const step = `{"steps":[{"id":"a","outcome":"succeeded","seconds":1}]}` + "\n"
	for _, c := range []struct{ name, log, problem string }{
		{"last line cut off", step + `{"steps":[{"id":"b"`, ""},
		{"last line without an end", step + `{"steps":[{"id":"b","outcome":"running","seconds":0}]}`, ""},
		{"empty", "", ""},
		{"cut off in the middle", step + `{"steps":[{"id":"b"` + "\n" + step, "line 2"},
		{"empty line", step + "\n" + step, "line 2"},
		{"two events in a line", strings.TrimSpace(step) + step, "line 1"},
		{"of a newer paictl", step + `{"moved":"a"}` + "\n", "line 2"},
		{"a list that is none", `{"append":{"by":["x"]}}` + "\n", "line 1"},
		{"of another operation", `{"set":{"id":"x"}}` + "\n", `"x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, store := t.Context(), runtest.Dir(t.TempDir())
			j := NewJournal(store)
			e, err := j.Begin(ctx, pai.Operation{Verb: pai.VerbUpgrade})
			if err != nil {
				t.Fatal(err)
			}
			file := j.logFile(e.id, e.log)
			write(t, store, file, c.log)
			op, err := j.Get(ctx, e.id)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) || !strings.Contains(err.Error(), file) {
					t.Errorf("got error %v, want one that names %s and %s", err, file, c.problem)
				}
				return
			}
			if err != nil || len(op.Steps) != strings.Count(c.log, step) || op.Verb != pai.VerbUpgrade {
				t.Errorf("got %+v, error %v, want the steps of the complete lines", op, err)
			}
		})
	}
}

// An older paictl reads and writes only <id>.json. It must see the operation as
// running with its planned steps, and what it writes holds.
func TestJournalIsSharedWithOlderRelease(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), runtest.Dir(t.TempDir())
	op := runSteps(t, store, 3)
	j := NewJournal(store)
	data, err := store.ReadFile(ctx, j.file(op.ID))
	if err != nil {
		t.Fatal(err)
	}
	var older pai.Operation
	if err := json.Unmarshal(data, &older); err != nil {
		t.Fatal(err)
	}
	if older.Outcome != pai.OutcomeRunning || len(older.Steps) != 3 || older.Steps[0].Outcome != pai.OutcomePending {
		t.Errorf("an older paictl reads %+v, want a running operation with pending steps", older)
	}
	older.Outcome, older.Error = pai.OutcomeStopped, "by an older paictl"
	write(t, store, j.file(op.ID), text(t, older))
	if got, err := j.Get(ctx, op.ID); err != nil || text(t, got) != text(t, older) {
		t.Errorf("got %+v, error %v, want what the older paictl wrote", got, err)
	}
}

// Late writes of a process that lost its lock reach no log that is read.
func TestJournalIgnoresOldLog(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), runtest.Dir(t.TempDir())
	op := runSteps(t, store, 2)
	j := NewJournal(store)
	before, err := j.read(ctx, op.ID)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := j.Resume(ctx, op.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := entry.Step(ctx, pai.StepRecord{ID: "a", Outcome: pai.OutcomeRunning}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.ReadFile(ctx, j.logFile(op.ID, before.Log)); err == nil {
		t.Error("the old log was not removed")
	}
	late := `{"steps":[{"id":"a","outcome":"failed","seconds":0}]}` + "\n"
	if err := store.AppendFile(ctx, j.logFile(op.ID, before.Log), []byte(late)); err != nil {
		t.Fatal(err)
	}
	if got, err := j.Get(ctx, op.ID); err != nil || text(t, got) != text(t, entry.Operation()) {
		t.Errorf("got %+v, error %v, want the record of the present writer", got, err)
	}
}
