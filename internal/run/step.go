package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Deadlines are how long a step may take. The world is looked at for up to
// Look where that fails, because the API may be away for a moment.
type Deadlines struct {
	Look   time.Duration // until the world could be looked at
	Do     time.Duration // until Do has returned
	Verify time.Duration // until the world shows what Do did
}

// DefaultDeadlines are generous: they end what hangs, not what is slow.
func DefaultDeadlines(k plan.Kind) Deadlines {
	d := Deadlines{Look: 30 * time.Second, Do: 15 * time.Minute, Verify: time.Minute}
	switch k {
	case plan.KindPrograms, plan.KindImages: // gigabytes over a slow line
		d.Do = time.Hour
	case plan.KindService, plan.KindRefresh, plan.KindDNS, plan.KindKubelet:
		d.Verify = 5 * time.Minute
	}
	return d
}

// step carries one step out: look, ask the guard, do, look again. It has
// succeeded when the world shows it, whatever Do returned.
func (r *running) step(ctx context.Context, s plan.Step) (pai.Outcome, error) {
	doer := r.Doers[s.Kind]
	if doer == nil {
		return pai.OutcomeFailed, fmt.Errorf("nothing carries out steps of kind %q", s.Kind)
	}
	d := r.Deadlines(s.Kind)
	if done, err := look(ctx, doer, s, d.Look); err != nil {
		return failed(ctx, fmt.Errorf("look at the state before: %w", err))
	} else if done {
		return pai.OutcomeSkipped, nil
	}
	if r.Admit != nil {
		if err := r.Admit(ctx, s); err != nil {
			if ctx.Err() != nil {
				return pai.OutcomeStopped, err
			}
			if pai.CodeOf(err) == pai.CodeWaiting {
				return pai.OutcomeWaiting, err
			}
			return pai.OutcomeRefused, err
		}
	}
	if r.halted() { // the guard may have taken its time
		return pai.OutcomeStopped, nil
	}
	if err := r.note(ctx, pai.StepRecord{ID: string(s.ID), Outcome: pai.OutcomeRunning}); err != nil && s.Risk != pai.RiskNone {
		return failed(ctx, fmt.Errorf("not begun, because the journal cannot be written: %w", err))
	}

	doCtx, cancel := context.WithTimeoutCause(ctx, d.Do, fmt.Errorf("not done within %s", d.Do))
	err := doer.Do(doCtx, s)
	if err != nil && ctx.Err() == nil && doCtx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(doCtx), err)
	}
	cancel()
	if err != nil {
		if ctx.Err() == nil && shows(ctx, doer, s) {
			return pai.OutcomeSucceeded, nil // only the answer was lost
		}
		return failed(ctx, err)
	}
	if err := verify(ctx, doer, s, d.Verify); err != nil {
		return failed(ctx, err)
	}
	return pai.OutcomeSucceeded, nil
}

// failed tells a step that failed from one that was told to stop.
func failed(ctx context.Context, err error) (pai.Outcome, error) {
	if ctx.Err() != nil {
		return pai.OutcomeStopped, err
	}
	return pai.OutcomeFailed, err
}

// look asks whether a step is done, again while that cannot be answered.
func look(ctx context.Context, doer plan.Doer, s plan.Step, deadline time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		done, err := doer.Done(ctx, s)
		if err == nil {
			return done, nil
		}
		if !sleep(ctx, wait) {
			return false, err
		}
	}
}

// shows asks once, after Do failed.
func shows(ctx context.Context, doer plan.Doer, s plan.Step) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	done, err := doer.Done(ctx, s)
	return done && err == nil
}

// verify looks until the world shows that a step is done.
func verify(ctx context.Context, doer plan.Doer, s plan.Step, deadline time.Duration) error {
	looking, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		done, err := doer.Done(looking, s)
		if done && err == nil {
			return nil
		}
		if !sleep(looking, wait) {
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil && !errors.Is(err, context.DeadlineExceeded):
				return fmt.Errorf("it was done, but the world does not show it within %s: %w", deadline, err)
			default:
				return fmt.Errorf("it was done, but the world does not show it within %s", deadline)
			}
		}
	}
}

const (
	firstWait   = 50 * time.Millisecond
	longestWait = time.Second
)

// sleep waits, and reports false when the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// note writes a record to the journal, also when the user has interrupted.
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
