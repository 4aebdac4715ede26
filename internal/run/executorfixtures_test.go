package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

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
