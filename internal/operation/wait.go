package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// WaitOptions say whether to stay until machines that wait are idle.
type WaitOptions struct {
	On bool
	// Timeout ends the waiting, not the operation: it can be gone on with.
	Timeout time.Duration
	// Every is how often the machines are asked at first, less often after a
	// while; a few seconds when it is 0.
	Every time.Duration
}

const (
	askEvery    = 5 * time.Second
	repeatEvery = time.Minute // a line that says what is waited for
)

// operateAndWait is Operate, again and again until no machine waits any more.
// Each time is an operation of its own, with its own witness, and the lock is
// free in between: the machines are cordoned, so nothing has to be held while
// their jobs run on for days, and a paictl that dies meanwhile leaves nothing
// undone that it had begun.
func (s *operation) operateAndWait(ctx context.Context, goal Goal, o RunOptions, wait WaitOptions) (pai.Operation, error) {
	shown := o.Show
	var last plan.Plan
	o.Show = func(p Preview) error {
		last = p.Plan
		return shown(p)
	}
	end := time.Now().Add(wait.Timeout)
	for {
		op, err := s.operateWithRollback(ctx, goal, o)
		if err == nil || !wait.On || pai.CodeOf(err) != pai.CodeWaiting {
			return op, err
		}
		g, errGuard := s.newGuard(o.Accept)
		if errGuard != nil {
			return op, errGuard
		}
		w := waiter{steps: stepsThatWait(last, op.Waiting), decide: g.Decide, every: wait.Every, end: end, stop: o.SafeStop, notice: o.Notice}
		if err := w.await(ctx); err != nil {
			return op, err
		}
		o.SavedPlan = nil // what is left of it is what is done now
	}
}

// stepsThatWait are the steps that the waiting machines wait with.
func stepsThatWait(p plan.Plan, waiting []pai.Waiting) []plan.Step {
	var steps []plan.Step
	for _, w := range waiting {
		for _, s := range p.Steps {
			if string(s.ID) == w.Step {
				steps = append(steps, s)
			}
		}
	}
	return steps
}

// waiter waits until the guard lets one of several steps go.
type waiter struct {
	steps  []plan.Step
	decide func(ctx context.Context, step plan.Step) guard.Decision
	every  time.Duration
	end    time.Time
	stop   <-chan struct{}
	notice func(format string, args ...any)
}

func (w waiter) await(ctx context.Context) error {
	if w.every == 0 {
		w.every = askEvery
	}
	every, said, when := w.every, "", time.Time{}
	for {
		var lines []string
		for _, step := range w.steps {
			d := w.decide(ctx, step)
			if d.Verdict == guard.Go && ctx.Err() == nil {
				w.notice("%s waits no longer: %s", step.Target, d.Reason)
				return nil
			}
			lines = append(lines, fmt.Sprintf("%s waits for %s", step.Target, waitsFor(d)))
		}
		if text := strings.Join(lines, "; "); text != said || time.Since(when) > repeatEvery {
			w.notice("%s (until %s)", text, w.end.Local().Format("2006-01-02 15:04:05"))
			said, when = text, time.Now()
		}
		const next = "go on later with: paictl upgrade resume [--wait]"
		pause := time.NewTimer(min(every, time.Until(w.end)))
		every = min(every+every/4, 6*w.every) // jobs that did not end soon may run for days
		select {
		case <-pause.C:
		case <-w.stop:
			pause.Stop()
			return pai.Errorf(pai.CodeInterrupted, next, "asked to stop waiting: %s", said)
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
		if !time.Now().Before(w.end) {
			return pai.Errorf(pai.CodeWaiting, next, "the time for waiting is over: %s", said)
		}
	}
}

func waitsFor(d guard.Decision) string {
	if len(d.Jobs) == 0 {
		return "an answer: " + d.Reason
	}
	names := make([]string, len(d.Jobs))
	for i, j := range d.Jobs {
		names[i] = j.String()
	}
	return strings.Join(names, ", ")
}
