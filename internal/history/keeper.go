package history

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// ErrAway: the database is unreachable. What needs it fails, or is incomplete; nothing
// waits for it.
var ErrAway = errors.New("the history is not available")

const (
	// openTimeout is how long a database can take to open, with its migrations.
	openTimeout = time.Minute
	// checkTimeout is how long an open one can take to answer.
	checkTimeout = 3 * time.Second
)

// Keeper keeps a database open, and opens it again when it is back.
type Keeper struct {
	open func(ctx context.Context) (*Store, error)
	// changed is called when the database becomes available, and when it no longer is.
	changed func(s *Store, err error)

	mu    sync.Mutex
	store *Store
	err   error // why there is no store
}

// NewKeeper returns a Keeper that has no database until Run opens it.
func NewKeeper(open func(ctx context.Context) (*Store, error), changed func(s *Store, err error)) *Keeper {
	return &Keeper{open: open, changed: changed, err: errors.New("it is being opened")}
}

// Run opens the database and watches it until the context ends.
func (k *Keeper) Run(ctx context.Context, every time.Duration) {
	for ctx.Err() == nil {
		k.check(ctx)
		_ = poll.Sleep(ctx, every) // the loop ends with ctx
	}
	k.set(nil, errors.New("the server ends"))
}

func (k *Keeper) check(ctx context.Context) {
	if s, err := k.Store(); err == nil {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		if err := s.Check(ctx); err != nil && !errors.Is(err, context.Canceled) {
			k.set(nil, err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s, err := k.open(ctx)
	if err == nil || !errors.Is(err, context.Canceled) {
		k.set(s, err)
	}
}

// set replaces the store, and says so once.
func (k *Keeper) set(s *Store, err error) {
	k.mu.Lock()
	before, why := k.store, k.err
	k.store, k.err = s, err
	k.mu.Unlock()
	if before != nil {
		_ = before.Close() // it is not used any more
	}
	if s != nil || before != nil || fmt.Sprint(why) != fmt.Sprint(err) {
		k.changed(s, err)
	}
}

// Store returns the open database. The error wraps ErrAway.
func (k *Keeper) Store() (*Store, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.store == nil {
		return nil, fmt.Errorf("%w: %w", ErrAway, k.err)
	}
	return k.store, nil
}

// useTimeout is how long a request waits for the database.
const useTimeout = 5 * time.Second

// Use calls do with the database. If it is not available, or fails, the error wraps
// ErrAway. ErrNotFound and errors for users stay.
func Use[T any](ctx context.Context, k *Keeper, do func(ctx context.Context, s *Store) (T, error)) (T, error) {
	var none T
	s, err := k.Store()
	if err != nil {
		return none, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, useTimeout, fmt.Errorf("no answer within %s", useTimeout))
	defer cancel()
	result, err := do(limited, s)
	forUser, _ := errors.AsType[*pai.Error](err)
	if err == nil || errors.Is(err, ErrNotFound) || forUser != nil || ctx.Err() != nil {
		return result, err
	}
	return none, fmt.Errorf("%w: %w", ErrAway, err)
}
