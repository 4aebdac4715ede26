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

// WaitOptions decide whether an operation waits until waiting machines are idle.
type WaitOptions struct {
	On bool
	// Timeout ends the wait, not the operation: it can be resumed.
	Timeout time.Duration
	// Every is the first pause between two questions, which grows later; a few
	// seconds if it is 0.
	Every time.Duration
}

const (
	askEvery    = 5 * time.Second
	repeatEvery = time.Minute // a line with what is waited for
)

// awaitMachines waits until the guard admits the step of a waiting machine.
func (o *operation) awaitMachines(ctx context.Context, end time.Time) error {
	g, err := newGuard(o.Session, o.options.Accept)
	if err != nil {
		return err
	}
	w := waiter{steps: stepsThatWait(o.preview.Plan, o.record.Waiting), decide: g.Decide,
		every: o.options.Wait.Every, end: end, stop: o.options.SafeStop, noticef: o.Progressf}
	return w.await(ctx)
}

// stepsThatWait are the steps of the waiting machines.
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

// waiter waits until the guard admits one of several steps.
type waiter struct {
	steps   []plan.Step
	decide  func(ctx context.Context, step plan.Step) guard.Decision
	every   time.Duration
	end     time.Time
	stop    <-chan struct{}
	noticef func(format string, args ...any)
}

func (w waiter) await(ctx context.Context) error {
	if w.every == 0 {
		w.every = askEvery
	}
	every, reported, when := w.every, "", time.Time{}
	for {
		var lines []string
		for _, step := range w.steps {
			d := w.decide(ctx, step)
			if d.Verdict == guard.Go && ctx.Err() == nil {
				w.noticef("%s no longer waits: %s", step.Target, d.Reason)
				return nil
			}
			lines = append(lines, fmt.Sprintf("%s waits for %s", step.Target, waitsFor(d)))
		}
		if text := strings.Join(lines, "; "); text != reported || time.Since(when) > repeatEvery {
			w.noticef("%s (until %s)", text, w.end.Local().Format("2006-01-02 15:04:05"))
			reported, when = text, time.Now()
		}
		const next = "to continue later, run: paictl upgrade resume"
		pause := time.NewTimer(min(every, time.Until(w.end)))
		every = min(every+every/4, 6*w.every) // jobs that do not end soon can run for days
		select {
		case <-pause.C:
		case <-w.stop:
			pause.Stop()
			return pai.Errorf(pai.CodeInterrupted, next, "stopped waiting for jobs: %s", reported)
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
		if !time.Now().Before(w.end) {
			return pai.Errorf(pai.CodeWaiting, next, "timed out waiting for jobs: %s", reported)
		}
	}
}

func waitsFor(d guard.Decision) string {
	if len(d.Jobs) == 0 {
		return "an answer: " + d.Reason
	}
	return jobNames(d.Jobs)
}
