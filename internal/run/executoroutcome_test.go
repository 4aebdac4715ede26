package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// The observed state decides the outcome, not what Do returned.
func TestExecutorOutcomeFollowsObservedState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(*world)
		want    string
		message string
	}{
		{"done before", func(w *world) { w.done["a"] = true }, "a:skipped", ""},
		{"Do succeeds, the state is unchanged", func(w *world) {
			w.do = func(context.Context, plan.Step) error { return errSilent }
		}, "a:failed", "its result was not observed within"},
		{"Do fails, the state is changed", func(w *world) {
			w.do = func(_ context.Context, s plan.Step) error { w.set(s.ID); return errors.New("connection lost") }
		}, "a:succeeded", ""},
		{"the state changes later", func(w *world) {
			w.do = func(_ context.Context, s plan.Step) error {
				time.AfterFunc(100*time.Millisecond, func() { w.set(s.ID) })
				return errSilent
			}
		}, "a:succeeded", ""},
		{"the first looks fail", func(w *world) {
			fails := 2
			w.looked = func(plan.Step) error {
				if fails--; fails >= 0 {
					return errors.New("API server unavailable")
				}
				return nil
			}
		}, "a:succeeded", ""},
		{"no look succeeds", func(w *world) { w.looked = func(plan.Step) error { return errors.New("API server unavailable") } }, "a:failed", "API server unavailable"},
		{"Do hangs", func(w *world) {
			w.do = func(ctx context.Context, _ plan.Step) error { <-ctx.Done(); return ctx.Err() }
		}, "a:failed", "not done within 300ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			c.prepare(w)
			var res Result
			// In a bubble of synctest a busy host cannot use up the deadlines.
			synctest.Test(t, func(t *testing.T) {
				res = Executor{Doers: plan.Doers{testKind: silent{w}}, Deadlines: quick}.Run(t.Context(), chain("a"))
			})
			if got := outcomes(res); got != c.want {
				t.Errorf("got %s (%v), want %s", got, res.Err(), c.want)
			}
			if !strings.Contains(res.Steps[0].Error, c.message) {
				t.Errorf("error %q does not say %q", res.Steps[0].Error, c.message)
			}
			if len(w.calls()) > 1 {
				t.Errorf("Do was called %d times", len(w.calls()))
			}
		})
	}
}

// errSilent makes Do of silent return nil without a change of the state.
var errSilent = errors.New("returned nil")

type silent struct{ *world }

func (s silent) Do(ctx context.Context, st plan.Step) error {
	if err := s.world.Do(ctx, st); !errors.Is(err, errSilent) {
		return err
	}
	return nil
}

// Without a journal no step starts that can affect a job.
func TestExecutorWithoutJournalStartsNoRiskyStep(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := executor(w)
	e.Record = func(context.Context, pai.StepRecord) error { return errors.New("disk full") }
	p := plan.Plan{Steps: []plan.Step{{ID: "harmless", Kind: testKind, Risk: pai.RiskNone}, {ID: "risky", Kind: testKind, Risk: pai.RiskNode}, {ID: "api", Kind: testKind, Risk: pai.RiskAPI}}}
	res := e.Run(context.Background(), p)
	if got, want := outcomes(res), "harmless:succeeded risky:failed api:failed"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if res.Journal == nil || !strings.Contains(res.Err().Error(), "disk full") {
		t.Errorf("journal error %v, error %v", res.Journal, res.Err())
	}
}

func TestExecutorReportsEventsAndRecords(t *testing.T) {
	t.Parallel()
	var lines []string
	var recorded []string
	w := newWorld()
	w.done["b"] = true
	e := executor(w)
	e.Events = func(ev Event) { // not synchronized: the race detector sees parallel calls
		lines = append(lines, fmt.Sprintf("%s %s %d/%d %s", ev.Kind, ev.Step.ID, ev.N, ev.Of, ev.Outcome))
		if ev.Time.IsZero() || ev.Elapsed <= 0 {
			t.Errorf("event without time: %+v", ev)
		}
	}
	e.Record = func(_ context.Context, s pai.StepRecord) error {
		recorded = append(recorded, s.ID+" "+string(s.Outcome))
		return nil
	}
	if res := e.Run(context.Background(), chain("a", "b")); res.Err() != nil {
		t.Fatal(res.Err())
	}
	want := []string{"step-started a 1/2 ", "step-ended a 1/2 succeeded", "step-started b 2/2 ", "step-ended b 2/2 skipped"}
	if !slices.Equal(lines, want) {
		t.Errorf("events %q, want %q", lines, want)
	}
	if want := []string{"a running", "a succeeded", "b skipped"}; !slices.Equal(recorded, want) {
		t.Errorf("recorded %q, want %q", recorded, want)
	}
}
