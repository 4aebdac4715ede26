package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// ErrAway: the database is not available. What needs it fails, or is incomplete; nothing
// waits for it.
var ErrAway = errors.New("the history is not available")

const (
	// openTimeout is how long a database can take to open, with its migrations.
	openTimeout = time.Minute
	// checkTimeout is how long an open one can take to answer.
	checkTimeout = 3 * time.Second
	// maxFailures is how many checks in a row fail until a database is closed: one that
	// is busy for a moment answers its requests.
	maxFailures = 3
	// useTimeout is how long a request waits for the database.
	useTimeout = 5 * time.Second
	// writeTimeout is how long the recorder waits for one write or read.
	writeTimeout = 30 * time.Second
)

// Keeper keeps a database open, and opens it again when it is back.
type Keeper struct {
	open func(ctx context.Context) (*Store, error)
	// changed is called when the database becomes available, and when it no longer is.
	changed func(ctx context.Context, s *Store, err error)

	failures int         // checks in a row
	opening  atomic.Bool // an attempt to open it has not returned

	mu    sync.Mutex
	store *Store
	err   error // why there is no store
}

// NewKeeper returns a Keeper that has no database until Run opens it.
func NewKeeper(open func(ctx context.Context) (*Store, error), changed func(ctx context.Context, s *Store, err error)) *Keeper {
	return &Keeper{open: open, changed: changed, err: errors.New("it is being opened")}
}

// Run opens the database and watches it until the context ends.
func (k *Keeper) Run(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		k.check(ctx)
		_ = poll.Sleep(ctx, every) // the loop ends with ctx
	}
	if s := k.replace(nil, errors.New("the server ends")); s != nil {
		_ = s.Close() // everything is written
	}
}

func (k *Keeper) check(ctx context.Context) {
	if s, err := k.Store(); err == nil {
		_, err := limited(ctx, checkTimeout, func(ctx context.Context) (int, error) { return 0, s.Check(ctx) })
		switch {
		case err == nil:
			k.failures = 0
		case !errors.Is(err, context.Canceled):
			if k.failures++; k.failures >= maxFailures || errors.Is(err, errReplaced) {
				k.set(ctx, nil, err)
			}
		}
		return
	}
	s, err := k.tryOpen(ctx)
	if err == nil || !errors.Is(err, context.Canceled) {
		k.failures = 0
		k.set(ctx, s, err)
	}
}

// tryOpen opens the database within openTimeout. One that opens later is closed again. A
// disk that hangs holds one attempt, not one for each check.
func (k *Keeper) tryOpen(ctx context.Context) (*Store, error) {
	if !k.opening.CompareAndSwap(false, true) {
		return nil, noAnswer(openTimeout)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, noAnswer(openTimeout))
	defer cancel()
	return withinOr(ctx, func() (*Store, error) {
		defer k.opening.Store(false)
		return k.open(ctx)
	}, func(s *Store, err error) {
		if err == nil {
			_ = s.Close() // no one has used it
		}
	})
}

// set replaces the store, and reports a change once.
func (k *Keeper) set(ctx context.Context, s *Store, err error) {
	_, why := k.Store()
	before := k.replace(s, err)
	if before != nil {
		go func() { _ = before.Close() }() // it can hang as its disk does
	}
	if s != nil || before != nil || fmt.Sprint(why) != fmt.Sprint(unavailable(err)) {
		k.changed(ctx, s, err)
	}
}

// replace returns the store before; nil if there was none.
func (k *Keeper) replace(s *Store, err error) (before *Store) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before, k.store, k.err = k.store, s, err
	return before
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrAway, err) }

// Store returns the open database. The error wraps ErrAway.
func (k *Keeper) Store() (*Store, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.store == nil {
		return nil, unavailable(k.err)
	}
	return k.store, nil
}

// ErrSlow: the database is not responding in time. Asking again at once takes as long.
var ErrSlow = errors.New("no answer")

func noAnswer(limit time.Duration) error { return fmt.Errorf("%w within %s", ErrSlow, limit) }

// within calls do, and waits for it no longer than the context lasts: a read from a
// disk that hangs cannot be canceled. A Store has few connections, and so few such reads.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	return withinOr(ctx, do, func(T, error) {})
}

// withinOr is within that passes what do returns too late to late.
func withinOr[T any](ctx context.Context, do func() (T, error), late func(T, error)) (T, error) {
	type answer struct {
		result T
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		result, err := do()
		answers <- answer{result, err}
	}()
	select {
	case a := <-answers:
		return a.result, a.err
	case <-ctx.Done():
		go func() {
			a := <-answers
			late(a.result, a.err)
		}()
		var none T
		return none, context.Cause(ctx)
	}
}

// limited calls do, and waits for it no longer than a limit.
func limited[T any](ctx context.Context, limit time.Duration, do func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, noAnswer(limit))
	defer cancel()
	result, err := within(ctx, func() (T, error) { return do(ctx) })
	return result, slowOr(ctx, err)
}

// slowOr is an error, or that the time of the context has passed, whatever a driver makes
// of that.
func slowOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, ErrSlow) {
		return cause
	}
	return err
}

// Use calls do with the database. If it is not available, slow, or fails, the error wraps
// ErrAway. ErrNotFound and errors for users stay.
func Use[T any](ctx context.Context, k *Keeper, do func(ctx context.Context, s *Store) (T, error)) (T, error) {
	var none T
	s, err := k.Store()
	if err != nil {
		return none, err
	}
	result, err := limited(ctx, useTimeout, func(ctx context.Context) (T, error) { return do(ctx, s) })
	forUser, _ := errors.AsType[*pai.Error](err)
	if err == nil || errors.Is(err, ErrNotFound) || forUser != nil || ctx.Err() != nil {
		return result, err
	}
	return none, unavailable(err)
}
