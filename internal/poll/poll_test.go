package poll_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/poll"
)

// asker answers yes from a question on, and fails or says no before.
type asker struct {
	yesAt int // zero: never
	err   error
	asked []time.Duration // when, since the start
	start time.Time
}

func (a *asker) ask(context.Context) (bool, error) {
	a.asked = append(a.asked, time.Since(a.start))
	if a.yesAt > 0 && len(a.asked) >= a.yesAt {
		return true, nil
	}
	return false, a.err
}

func TestUntilPauses(t *testing.T) {
	t.Parallel()
	s := time.Second
	for name, test := range map[string]struct {
		wait poll.Wait
		want []time.Duration
	}{
		"constant pause":      {poll.Wait{Every: s}, []time.Duration{0, s, 2 * s, 3 * s, 4 * s}},
		"doubling up to max":  {poll.Wait{Every: s, Max: 3 * s}, []time.Duration{0, s, 3 * s, 6 * s, 9 * s}},
		"factor up to max":    {poll.Wait{Every: s, Max: 9 * s, Factor: 3}, []time.Duration{0, s, 4 * s, 13 * s, 22 * s}},
		"max below the pause": {poll.Wait{Every: s, Max: s / 2}, []time.Duration{0, s, 2 * s, 3 * s, 4 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := asker{yesAt: 5, err: fs.ErrNotExist, start: time.Now()}
				test.wait.For, test.wait.Timeout = "the file", time.Minute
				if err := test.wait.Until(t.Context(), a.ask); err != nil {
					t.Fatal(err)
				}
				for i, at := range test.want {
					if a.asked[i] != at {
						t.Errorf("got question %d after %s, want %s", i, a.asked[i], at)
					}
				}
			})
		})
	}
}

func TestUntilTimesOut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		timeout, limit time.Duration // of the wait and of the context
		err            error
		want           string
	}{
		"the answer was no":       {timeout: 2500 * time.Millisecond, want: "timed out after 2.5s waiting for the file"},
		"with the last error":     {timeout: 2500 * time.Millisecond, err: fs.ErrNotExist, want: "timed out after 2.5s waiting for the file: file does not exist"},
		"deadline of the context": {limit: 2500 * time.Millisecond, err: fs.ErrNotExist, want: "timed out after 2.5s waiting for the file: file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if test.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.limit)
					defer cancel()
				}
				a := asker{err: test.err, start: time.Now()}
				err := poll.Wait{For: "the file", Timeout: test.timeout, Every: time.Second}.Until(ctx, a.ask)
				timeout := new(poll.TimeoutError)
				if !errors.As(err, &timeout) || err.Error() != test.want || !errors.Is(err, test.err) && test.err != nil {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if errors.Is(err, context.DeadlineExceeded) != (test.limit > 0) {
					t.Errorf("%v: only the caller's own deadline is one of its context", err)
				}
				if got := time.Since(a.start); got != 2500*time.Millisecond || len(a.asked) != 3 {
					t.Errorf("got %d questions in %s, want 3 in 2.5s", len(a.asked), got)
				}
			})
		})
	}
}

// A question that is cut off by the deadline says nothing about the cause.
func TestTimeoutKeepsTheCauseBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		err := poll.Wait{For: "the file", Timeout: time.Minute, Every: time.Second}.Until(t.Context(), func(ctx context.Context) (bool, error) {
			if asked++; asked == 1 {
				return false, fs.ErrPermission
			}
			<-ctx.Done()
			return false, ctx.Err()
		})
		if !errors.Is(err, fs.ErrPermission) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the error of the first question", err)
		}
	})
}

func TestUntilKeepsTheCauseOfTheContext(t *testing.T) {
	t.Parallel()
	lost := errors.New("the lock is lost")
	for name, test := range map[string]struct {
		cause error
		want  string
	}{
		"canceled":         {nil, "wait for the file: context canceled; last error: file does not exist"},
		"cause":            {lost, "wait for the file: the lock is lost (context canceled); last error: file does not exist"},
		"deadline outside": {context.DeadlineExceeded, "wait for the file: context deadline exceeded (context canceled); last error: file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(3*time.Second/2, func() { cancel(test.cause) })
				a := asker{err: fs.ErrNotExist, start: time.Now()}
				err := poll.Wait{For: "the file", Timeout: time.Hour, Every: time.Second}.Until(ctx, a.ask)
				if err == nil || err.Error() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
				if !errors.Is(err, context.Canceled) || test.cause != nil && !errors.Is(err, test.cause) {
					t.Errorf("got %v, want the cause in its chain", err)
				}
			})
		})
	}
}

func TestUntilEndsAtFinalError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := asker{err: poll.Final(fs.ErrPermission), start: time.Now()}
		err := poll.Wait{For: "the file", Timeout: time.Hour, Every: time.Minute}.Until(t.Context(), a.ask)
		if !errors.Is(err, fs.ErrPermission) || err.Error() != fs.ErrPermission.Error() || len(a.asked) != 1 {
			t.Errorf("got %v after %d questions, want the error at once", err, len(a.asked))
		}
	})
	if poll.Final(nil) != nil {
		t.Error("got an error of no error, want none")
	}
}

func TestUntilRequiresPauseAndDeadline(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]poll.Wait{
		"no deadline": {For: "the file", Every: time.Second},
		"no pause":    {For: "the file", Timeout: time.Second},
	} {
		a := asker{yesAt: 1}
		if err := wait.Until(t.Context(), a.ask); err == nil || len(a.asked) != 0 {
			t.Errorf("%s: got %v, want an error before the first question", name, err)
		}
	}
}

func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := poll.Sleep(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Errorf("got %v after %s, want none after 1h", err, time.Since(start))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(fs.ErrClosed)
		if err := poll.Sleep(ctx, time.Hour); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("got %v, want the cause of the context", err)
		}
	})
}
