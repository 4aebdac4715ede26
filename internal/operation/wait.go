package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
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
	w.command, w.cancel = continuation(o.goal)
	return w.await(ctx)
}

// continuation is the command that continues a goal that waits, and the advice how to cancel.
func continuation(g Goal) (command, cancel string) {
	machine := machineOf(g)
	switch {
	case machine == "":
		return resumeCommand, ""
	case g.Verb() == pai.VerbReplace:
		return "paictl machine replace " + machine + " --with " + g.(*replaceGoal).with, ""
	case g.Verb() == pai.VerbRemove:
		return "paictl machine remove " + machine, staysCordoned(machine)
	default:
		return "paictl machine maintain " + machine, staysCordoned(machine)
	}
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
	command string // that continues later
	cancel  string // the advice how to cancel instead; can be empty
}

var errStoppedWaiting = errors.New("stopped waiting for jobs")

func (w waiter) await(ctx context.Context) error {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-w.stop:
			cancel(errStoppedWaiting)
		case <-waiting.Done():
		}
	}()
	every := cmp.Or(w.every, askEvery)
	wait := poll.Wait{For: "jobs", Timeout: max(time.Until(w.end), 1), Every: every, Factor: 1.25, Max: 6 * every} // jobs can run for days
	var reported string
	var when time.Time
	err := wait.Until(waiting, func(context.Context) (bool, error) {
		text, admitted := w.ask(ctx)
		if !admitted && (text != reported || time.Since(when) > repeatEvery) {
			w.noticef("%s (until %s)", text, w.end.Local().Format("2006-01-02 15:04:05"))
			reported, when = text, time.Now()
		}
		return admitted, nil
	})
	next := "to continue later, run: " + w.command + w.cancel
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errStoppedWaiting):
		return pai.Errorf(pai.CodeInterrupted, next, "stopped waiting for jobs: %s", reported)
	default:
		return pai.Errorf(pai.CodeWaiting, next, "timed out waiting for jobs: %s", reported)
	}
}

// ask returns whether the guard admits a step, or what each step waits for.
func (w waiter) ask(ctx context.Context) (waitsForJobs string, admitted bool) {
	var lines []string
	for _, step := range w.steps {
		d := w.decide(ctx, step)
		if d.Verdict == guard.Go && ctx.Err() == nil {
			w.noticef("%s no longer waits: %s", step.Target, d.Reason)
			return "", true
		}
		lines = append(lines, fmt.Sprintf("%s waits for %s", step.Target, waitsFor(d)))
	}
	return strings.Join(lines, "; "), false
}

func waitsFor(d guard.Decision) string {
	if len(d.Jobs) == 0 {
		return "an answer: " + d.Reason
	}
	return pai.JobRefs(d.Jobs).String()
}
