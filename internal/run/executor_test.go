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
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// For every plan and every failure: a step starts after all steps that it waits
// for, a failed step blocks exactly the steps that wait for it, a blocked step
// names what it waits for, and the limits are kept.
func TestExecutorOfAnyPlanKeepsOrderAndLimits(t *testing.T) {
	t.Parallel()
	outer := t
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
			if s.Risk == pai.RiskNode {
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
		var res Result
		synctest.Test(outer, func(t *testing.T) { res = e.Run(t.Context(), p) })

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
	synctest.Test(t, func(t *testing.T) { // in which a busy host cannot use up the deadlines
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
	})
}

// Steps that can affect jobs, but are not steps of one machine, run alone.
func TestExecutorRunsRiskyStepsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var risky, worst atomic.Int32
		w.do = func(context.Context, plan.Step) error {
			raise(&worst, risky.Add(1))
			time.Sleep(20 * time.Millisecond)
			risky.Add(-1)
			return nil
		}
		p := plan.Plan{}
		for _, r := range []pai.Risk{pai.RiskNode, pai.RiskDataPath, pai.RiskEviction, "unheard-of"} {
			p.Steps = append(p.Steps, plan.Step{ID: plan.StepID(r), Kind: testKind, Risk: r})
		}
		p.Steps = append(p.Steps, machineStep("gpu-1", plan.KindKubelet, pai.RiskNode))
		e := executor(w)
		e.Doers[plan.KindKubelet], e.Limit = w, 8
		if res := e.Run(context.Background(), p); res.Err() != nil || worst.Load() != 1 {
			t.Errorf("%d in parallel, error %v", worst.Load(), res.Err())
		}
	})
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
