package check

import (
	"context"
	"fmt"
	"sync"
)

// memo is a value that is observed once per run, when the first check needs it.
type memo[T any] struct {
	run   context.Context // of the whole run: the end of one check must not affect others
	read  func(context.Context) (T, error)
	once  sync.Once
	done  chan struct{}
	value T
	err   error
}

func observe[T any](run context.Context, read func(context.Context) (T, error)) *memo[T] {
	return &memo[T]{run: run, read: read, done: make(chan struct{})}
}

// get waits for the observation until ctx ends.
func (m *memo[T]) get(ctx context.Context) (T, error) {
	m.once.Do(func() { go m.observe() })
	select {
	case <-m.done:
		return m.value, m.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (m *memo[T]) observe() {
	defer close(m.done)
	defer func() {
		if p := recover(); p != nil {
			m.err = fmt.Errorf("the observation panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeoutCause(m.run, timeout, fmt.Errorf("not within %s", timeout))
	defer cancel()
	m.value, m.err = m.read(ctx)
}
