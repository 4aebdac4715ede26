package check

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pai.dev/pai/internal/pai"
)

// memo is something that is observed once in a run: when the first check asks
// for it, and for all who ask.
type memo[T any] struct {
	run   context.Context // the whole run's: one check's end must not fail the others
	read  func(context.Context) (T, error)
	once  sync.Once
	done  chan struct{}
	value T
	err   error
}

func observe[T any](run context.Context, read func(context.Context) (T, error)) *memo[T] {
	return &memo[T]{run: run, read: read, done: make(chan struct{})}
}

// get waits for the observation as long as ctx allows.
func (m *memo[T]) get(ctx context.Context) (T, error) {
	m.once.Do(func() {
		go func() {
			defer close(m.done)
			defer func() {
				if p := recover(); p != nil {
					m.err = fmt.Errorf("looking at it broke: %v", p)
				}
			}()
			limited, cancel := context.WithTimeoutCause(m.run, limit, fmt.Errorf("not within %s", limit))
			defer cancel()
			m.value, m.err = m.read(limited)
		}()
	})
	select {
	case <-m.done:
		return m.value, m.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// nextOf is what an error says is to be done.
func nextOf(err error) string {
	var e *pai.Error
	if errors.As(err, &e) {
		return e.Next
	}
	return ""
}
