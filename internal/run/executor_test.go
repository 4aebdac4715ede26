package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const testKind plan.Kind = "test"

// world is what the steps of a test change: a step is done when it is in done.
type world struct {
	mu     sync.Mutex
	done   map[plan.StepID]bool
	did    []plan.StepID // in the order in which Do was called
	do     func(ctx context.Context, s plan.Step) error
	looked func(s plan.Step) error
}

func newWorld() *world { return &world{done: map[plan.StepID]bool{}} }

func (w *world) Done(_ context.Context, s plan.Step) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looked != nil {
		if err := w.looked(s); err != nil {
			return false, err
		}
	}
	return w.done[s.ID], nil
}

func (w *world) Do(ctx context.Context, s plan.Step) error {
	w.mu.Lock()
	w.did = append(w.did, s.ID)
	w.mu.Unlock()
	if w.do != nil {
		if err := w.do(ctx, s); err != nil {
			return err
		}
	}
	w.set(s.ID)
	return nil
}

func (w *world) set(id plan.StepID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[id] = true
}

func (w *world) calls() []plan.StepID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.did)
}

// quick are deadlines for tests.
func quick(plan.Kind) Deadlines {
	return Deadlines{Look: 200 * time.Millisecond, Do: 300 * time.Millisecond, Verify: 200 * time.Millisecond}
}

func executor(w *world) Executor {
	return Executor{Doers: plan.Doers{testKind: w}, Deadlines: quick}
}

// chain is a plan of steps that each wait for the one before.
func chain(ids ...plan.StepID) plan.Plan {
	var p plan.Plan
	for i, id := range ids {
		s := plan.Step{ID: id, Kind: testKind, Risk: pai.RiskNone}
		if i > 0 {
			s.After = []plan.StepID{ids[i-1]}
		}
		p.Steps = append(p.Steps, s)
	}
	return p
}

func outcomes(r Result) string {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%s:%s ", s.ID, s.Outcome)
	}
	return strings.TrimSpace(b.String())
}

// For every plan and every failure: a step starts after all steps that it waits
// for, a failed step blocks exactly the steps that wait for it, a blocked step
// names what it waits for, and the limits are kept.
func TestExecutorOfAnyPlanKeepsOrderAndLimits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 15).Draw(t, "steps")
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		p, fails, already := plan.Plan{}, map[plan.StepID]bool{}, map[plan.StepID]bool{}
		for i := range n {
			s := plan.Step{ID: plan.StepID(fmt.Sprint("s", i)), Kind: testKind, Risk: rapid.SampledFrom([]pai.Risk{pai.RiskNone, pai.RiskAPI, pai.RiskNode}).Draw(t, "risk")}
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
					s.After = append(s.After, p.Steps[j].ID)
				}
			}
			p.Steps = append(p.Steps, s)
			switch rapid.IntRange(0, 7).Draw(t, "outcome") {
			case 0:
				fails[s.ID] = true
			case 1:
				already[s.ID] = true
			}
		}

		w := newWorld()
		maps.Copy(w.done, already)
		var active, risky, worst, worstRisky atomic.Int32
		w.do = func(_ context.Context, s plan.Step) error {
			raise(&worst, active.Add(1))
			defer active.Add(-1)
			if affectsJobs(s) {
				raise(&worstRisky, risky.Add(1))
				defer risky.Add(-1)
			}
			w.mu.Lock()
			for _, id := range s.After {
				if !w.done[id] {
					t.Errorf("%s began before %s was done", s.ID, id)
				}
			}
			w.mu.Unlock()
			if fails[s.ID] {
				return errors.New("no")
			}
			return nil
		}
		e := executor(w)
		e.Limit = limit
		res := e.Run(context.Background(), p)

		if worst.Load() > int32(limit) || worstRisky.Load() > 1 {
			t.Fatalf("%d steps in parallel with limit %d, %d of them could affect jobs", worst.Load(), limit, worstRisky.Load())
		}
		roots := map[plan.StepID]map[plan.StepID]bool{}
		for i, s := range p.Steps {
			roots[s.ID] = map[plan.StepID]bool{}
			for _, id := range s.After {
				maps.Copy(roots[s.ID], roots[id])
			}
			want := pai.OutcomeSucceeded
			switch {
			case len(roots[s.ID]) > 0:
				want = pai.OutcomeBlocked
			case already[s.ID]:
				want = pai.OutcomeSkipped
			case fails[s.ID]:
				want = pai.OutcomeFailed
				roots[s.ID] = map[plan.StepID]bool{s.ID: true}
			}
			if res.Steps[i].Outcome != want {
				t.Fatalf("%s is %s, want %s", s.ID, res.Steps[i].Outcome, want)
			}
			if want == pai.OutcomeBlocked {
				got := slices.Sorted(slices.Values(res.Blocked[s.ID]))
				if all := slices.Sorted(maps.Keys(roots[s.ID])); !slices.Equal(got, all) {
					t.Fatalf("%s is blocked by %v, want %v", s.ID, got, all)
				}
			}
			if started := slices.Contains(w.calls(), s.ID); started != (want == pai.OutcomeSucceeded || want == pai.OutcomeFailed) {
				t.Fatalf("%s, which is %s: started is %v", s.ID, want, started)
			}
		}
		if (res.Err() == nil) != (len(res.Of(pai.OutcomeFailed)) == 0) {
			t.Fatalf("error %v for %s", res.Err(), outcomes(res))
		}
	})
}

func raise(highest *atomic.Int32, n int32) {
	for {
		h := highest.Load()
		if n <= h || highest.CompareAndSwap(h, n) {
			return
		}
	}
}

func TestExecutorRunsIndependentStepsInParallel(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var together sync.WaitGroup
	together.Add(3)
	w.do = func(ctx context.Context, _ plan.Step) error { // ends only when all three are here
		together.Done()
		both := make(chan struct{})
		go func() { together.Wait(); close(both) }()
		select {
		case <-both:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p := plan.Plan{Steps: []plan.Step{{ID: "a", Kind: testKind}, {ID: "b", Kind: testKind}, {ID: "c", Kind: testKind}}}
	for i := range p.Steps {
		p.Steps[i].Risk = pai.RiskNone
	}
	if res := executor(w).Run(context.Background(), p); res.Outcome != pai.OutcomeSucceeded {
		t.Errorf("%s: %v", outcomes(res), res.Err())
	}
}

// Steps that can affect jobs run one at a time.
func TestExecutorRunsRiskyStepsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var risky, worst atomic.Int32
	w.do = func(context.Context, plan.Step) error {
		raise(&worst, risky.Add(1))
		time.Sleep(20 * time.Millisecond)
		risky.Add(-1)
		return nil
	}
	p := plan.Plan{}
	for _, r := range []pai.Risk{pai.RiskNode, pai.RiskDataPath, pai.RiskEviction} {
		p.Steps = append(p.Steps, plan.Step{ID: plan.StepID(r), Kind: testKind, Risk: r})
	}
	if res := executor(w).Run(context.Background(), p); res.Err() != nil || worst.Load() != 1 {
		t.Errorf("%d in parallel, error %v", worst.Load(), res.Err())
	}
}

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
			res := Executor{Doers: plan.Doers{testKind: silent{w}}, Deadlines: quick}.Run(context.Background(), chain("a"))
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

func TestExecutorStopLeavesRemainingSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// run executes the plan; started is closed when step b has started. Step
		// b ends with its context, or after a while.
		run      func(e Executor, started <-chan struct{}, p plan.Plan) Result
		want     string
		code     pai.Code
		contains string
	}{
		{"at the next safe point", func(e Executor, started <-chan struct{}, p plan.Plan) Result {
			stop := make(chan struct{})
			e.Stop = stop
			go func() { <-started; close(stop) }()
			return e.Run(context.Background(), p)
		}, "a:succeeded b:succeeded c:stopped d:stopped", pai.CodeInterrupted, "2 of 4 steps left"},
		{"now", func(e Executor, started <-chan struct{}, p plan.Plan) Result {
			ctx, cancel := context.WithCancel(context.Background())
			go func() { <-started; cancel() }()
			return e.Run(ctx, p)
		}, "a:succeeded b:stopped c:stopped d:stopped", pai.CodeInterrupted, "3 of 4 steps left"},
		{"because a job was interrupted", func(e Executor, started <-chan struct{}, p plan.Plan) Result {
			e.Halt = func() error {
				select {
				case <-started:
					return pai.Errorf(pai.CodeFailed, "", "job ann~llama was interrupted")
				default:
					return nil
				}
			}
			return e.Run(context.Background(), p)
		}, "a:succeeded b:succeeded c:stopped d:stopped", pai.CodeFailed, "ann~llama"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, started := newWorld(), make(chan struct{})
			w.do = func(ctx context.Context, s plan.Step) error {
				if s.ID != "b" {
					return nil
				}
				close(started)
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(100 * time.Millisecond):
					return nil
				}
			}
			res := c.run(executor(w), started, chain("a", "b", "c", "d"))
			if got := outcomes(res); got != c.want || res.Outcome != pai.OutcomeStopped {
				t.Errorf("got %s, outcome %s, want %s", got, res.Outcome, c.want)
			}
			if err := res.Err(); pai.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.contains) {
				t.Errorf("error %v with code %s, want code %s and %q", err, pai.CodeOf(err), c.code, c.contains)
			}
		})
	}
}

func TestExecutorRefusedStepBlocksDependents(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := executor(w)
	e.Admit = func(_ context.Context, s plan.Step) error {
		if s.ID == "b" {
			return errors.New("job ann~llama runs there")
		}
		return nil
	}
	p := chain("a", "b", "c")
	p.Steps = append(p.Steps, plan.Step{ID: "other", Kind: testKind, Risk: pai.RiskNone})
	res := e.Run(context.Background(), p)
	if got, want := outcomes(res), "a:succeeded b:refused c:blocked other:succeeded"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := res.Err(); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "ann~llama") {
		t.Errorf("error %v with code %s", err, pai.CodeOf(err))
	}
	if res.Steps[2].Error != "waits for b" {
		t.Errorf("c says %q", res.Steps[2].Error)
	}
}

// A halt while the guard waits prevents the start of the step.
func TestExecutorHaltDuringAdmissionStartsNoStep(t *testing.T) {
	t.Parallel()
	w := newWorld()
	e := executor(w)
	var halt atomic.Bool
	e.Admit = func(context.Context, plan.Step) error { halt.Store(true); return nil }
	e.Halt = func() error {
		if halt.Load() {
			return errors.New("lock lost")
		}
		return nil
	}
	res := e.Run(context.Background(), chain("a"))
	if len(w.calls()) > 0 || outcomes(res) != "a:stopped" || pai.CodeOf(res.Err()) != pai.CodeFailed {
		t.Errorf("%s, %d calls of Do, error %v", outcomes(res), len(w.calls()), res.Err())
	}
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

func TestExecutorOfInvalidPlanFails(t *testing.T) {
	t.Parallel()
	w := newWorld()
	res := executor(w).Run(context.Background(), plan.Plan{Steps: []plan.Step{{ID: "a", Kind: testKind, After: []plan.StepID{"gone"}}}})
	if res.Outcome != pai.OutcomeFailed || res.Err() == nil || len(w.calls()) > 0 {
		t.Errorf("outcome %s, error %v", res.Outcome, res.Err())
	}
	res = executor(w).Run(context.Background(), plan.Plan{Steps: []plan.Step{{ID: "a", Kind: "unheard-of"}}})
	if err := res.Err(); err == nil || !strings.Contains(err.Error(), "unheard-of") {
		t.Errorf("a step without a doer: %v", err)
	}
	if res := executor(w).Run(context.Background(), plan.Plan{}); res.Outcome != pai.OutcomeSucceeded || res.Err() != nil {
		t.Errorf("an empty plan: %s, %v", res.Outcome, res.Err())
	}
}
