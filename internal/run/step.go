package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// Deadlines limit the time of a step. Look is long enough for a short API
// outage.
type Deadlines struct {
	Look   time.Duration // until the state could be observed
	Do     time.Duration // until Do returns
	Verify time.Duration // until the result of Do is observed
}

// DefaultDeadlines returns generous limits: they end a step that hangs, not a
// slow one.
func DefaultDeadlines(k plan.Kind) Deadlines {
	d := Deadlines{Look: 30 * time.Second, Do: 15 * time.Minute, Verify: time.Minute}
	traits := k.Traits()
	d.Do = cmp.Or(time.Duration(traits.DoMinutes)*time.Minute, d.Do)
	d.Verify = cmp.Or(time.Duration(traits.VerifyMinutes)*time.Minute, d.Verify)
	return d
}

// step runs one step: check, ask the guard, do, verify. The step succeeds only
// if its result is observed, whatever Do returns.
func (r *running) step(ctx context.Context, s plan.Step) (pai.Outcome, error) {
	doer := r.Doers[s.Kind]
	if doer == nil {
		return pai.OutcomeFailed, fmt.Errorf("no doer for steps of kind %q", s.Kind)
	}
	d := r.Deadlines(s.Kind)
	if done, err := checkDone(ctx, doer, s, d.Look); err != nil {
		return failed(ctx, fmt.Errorf("observe the state before the step: %w", err))
	} else if done {
		return pai.OutcomeSkipped, nil
	}
	jobs, outcome, err := r.admit(ctx, s)
	if outcome != "" {
		return outcome, err
	}
	defer r.claims.release(jobs)
	if err := r.note(ctx, pai.StepRecord{ID: string(s.ID), Outcome: pai.OutcomeRunning}); err != nil && s.Risk != pai.RiskNone {
		return failed(ctx, fmt.Errorf("not started, because the journal cannot be written: %w", err))
	}

	doCtx, cancel := context.WithTimeoutCause(ctx, d.Do, fmt.Errorf("not done within %s", d.Do))
	err = doer.Do(doCtx, s)
	if err != nil && ctx.Err() == nil && doCtx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(doCtx), err)
	}
	cancel()
	if err != nil {
		if ctx.Err() == nil && isDone(ctx, doer, s) {
			return pai.OutcomeSucceeded, nil // only the response was lost
		}
		return failed(ctx, err)
	}
	if err := verify(ctx, doer, s, d.Verify); err != nil {
		return failed(ctx, err)
	}
	return pai.OutcomeSucceeded, nil
}

// admit asks whether a step can start, until no other step affects the same
// jobs, and claims these. It returns the outcome of a step that cannot start.
func (r *running) admit(ctx context.Context, s plan.Step) (jobs []pai.JobRef, _ pai.Outcome, err error) {
	for {
		if r.Admit != nil {
			jobs, err = r.Admit(ctx, s)
		}
		switch {
		case err == nil && r.halted(): // the guard can take long
			return nil, pai.OutcomeStopped, nil
		case err == nil:
		case ctx.Err() != nil:
			return nil, pai.OutcomeStopped, err
		case pai.CodeOf(err) == pai.CodeWaiting:
			return nil, pai.OutcomeWaiting, err
		default:
			return nil, pai.OutcomeRefused, err
		}
		released := r.claims.take(jobs)
		if released == nil {
			return jobs, "", nil
		}
		select {
		case <-released: // the next answer counts: the other step can have changed it
		case <-ctx.Done():
			return nil, pai.OutcomeStopped, context.Cause(ctx)
		}
	}
}

// failed distinguishes a step that failed from one that was stopped.
func failed(ctx context.Context, err error) (pai.Outcome, error) {
	if ctx.Err() != nil {
		return pai.OutcomeStopped, err
	}
	return pai.OutcomeFailed, err
}

// checkDone returns whether a step is done. It asks again while the answer is an
// error.
func checkDone(ctx context.Context, doer plan.Doer, s plan.Step, deadline time.Duration) (done bool, err error) {
	err = waitFor(s, deadline).Until(ctx, func(ctx context.Context) (bool, error) {
		var err error
		done, err = doer.Done(ctx, s)
		return true, err
	})
	return done && err == nil, err
}

func waitFor(s plan.Step, deadline time.Duration) poll.Wait {
	return poll.Wait{For: "the state of " + string(s.ID), Timeout: deadline, Every: 50 * time.Millisecond, Max: time.Second}
}

// isDone checks once, after Do failed.
func isDone(ctx context.Context, doer plan.Doer, s plan.Step) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	done, err := doer.Done(ctx, s)
	return done && err == nil
}

// verify waits until the step is observed as done.
func verify(ctx context.Context, doer plan.Doer, s plan.Step, deadline time.Duration) error {
	err := waitFor(s, deadline).Until(ctx, func(ctx context.Context) (bool, error) { return doer.Done(ctx, s) })
	timeout := new(poll.TimeoutError)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &timeout):
		return err
	case timeout.Last != nil:
		return fmt.Errorf("the step ran, but its result was not observed within %s: %w", deadline, timeout.Last)
	default:
		return fmt.Errorf("the step ran, but its result was not observed within %s", deadline)
	}
}

// note writes a record to the journal, even if ctx is canceled.
func (r *running) note(ctx context.Context, record pai.StepRecord) error {
	if r.Record == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err := r.Record(ctx, record)
	if err != nil {
		r.mu.Lock()
		r.journal = err
		r.mu.Unlock()
	}
	return err
}
