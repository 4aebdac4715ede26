// Package poll asks a question again and again until the answer is yes or the
// time is over. It is the only place that waits by asking: every wait has a
// deadline, and its error names what it waited for and the last cause.
//
// Tests need no fake clock: they run in a bubble of testing/synctest.
package poll

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Wait describes a wait.
type Wait struct {
	// For names what is waited for, such as "node gpu-01 ready".
	For string
	// Timeout ends the wait. Zero leaves that to the deadline of the context,
	// which must have one then.
	Timeout time.Duration
	// Every is the pause between two questions. It is required.
	Every time.Duration
	// Max makes the pause grow after each question, up to Max.
	Max time.Duration
	// Factor is by how much the pause grows; zero means 2.
	Factor float64
}

// Until asks at once and then after each pause, until the answer is yes. An
// error of ask counts as no, unless it is a Final one, which Until returns.
// Until returns a *TimeoutError when the time is over, and an error with the
// cause of ctx when ctx ends first.
func (w Wait) Until(ctx context.Context, ask func(ctx context.Context) (bool, error)) error {
	deadline, limited := ctx.Deadline()
	if w.Every <= 0 || (w.Timeout <= 0 && !limited) {
		return fmt.Errorf("wait for %s: a wait needs a pause and a deadline", w.For)
	}
	timeout := w.Timeout
	if timeout <= 0 {
		timeout = time.Until(deadline)
	}
	limitedCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var last error
	for pause := w.Every; ; pause = w.next(pause) {
		ok, err := ask(limitedCtx)
		if final := (finalError{}); errors.As(err, &final) {
			return final.error
		}
		if ok && err == nil {
			return nil
		}
		if limitedCtx.Err() == nil {
			last = err // later errors only repeat that the time is over
		}
		if Sleep(limitedCtx, pause) != nil {
			return w.ended(ctx, timeout, last)
		}
	}
}

func (w Wait) next(pause time.Duration) time.Duration {
	factor := w.Factor
	if factor == 0 {
		factor = 2
	}
	return max(pause, min(time.Duration(float64(pause)*factor), w.Max))
}

func (w Wait) ended(ctx context.Context, timeout time.Duration, last error) error {
	cause := context.Cause(ctx)
	if ctx.Err() == nil || (w.Timeout <= 0 && errors.Is(cause, context.DeadlineExceeded)) {
		err := &TimeoutError{For: w.For, After: timeout, Last: last}
		if w.Timeout <= 0 { // the deadline was the caller's
			err.context = context.DeadlineExceeded
		}
		return err
	}
	if !errors.Is(cause, ctx.Err()) {
		cause = fmt.Errorf("%w (%w)", cause, ctx.Err())
	}
	if last != nil {
		return fmt.Errorf("wait for %s: %w; last error: %w", w.For, cause, last)
	}
	return fmt.Errorf("wait for %s: %w", w.For, cause)
}

// TimeoutError says that what was waited for did not come in time. It is a
// context.DeadlineExceeded if the deadline was the caller's, so that a caller
// who set one finds it in the error; the wait's own timeout is not.
type TimeoutError struct {
	For     string
	After   time.Duration
	Last    error // of the last question; nil if the answer was no
	context error // of the caller's context; nil if its deadline was not what ended the wait
}

func (e *TimeoutError) Error() string {
	text := fmt.Sprintf("timed out after %s waiting for %s", e.After.Round(time.Millisecond), e.For)
	if e.Last != nil {
		text += ": " + e.Last.Error()
	}
	return text
}

// Unwrap returns the last error and that of the caller's context, as far as
// there are any.
func (e *TimeoutError) Unwrap() []error {
	var list []error
	for _, err := range []error{e.Last, e.context} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// Final marks an error that asking again cannot change. Until returns err as
// it is.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Sleep waits for d, or until ctx ends; then it returns the cause of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}
