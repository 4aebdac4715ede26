package cluster

import (
	"context"
	"sync"
)

// answers keeps what kubeadm and the machines said about what does not change
// while steps run: the flags of a version, the facts of a machine. Errors are not
// kept.
type answers struct {
	mu sync.Mutex
	of map[string]*answer
}

type answer struct {
	turn  chan struct{} // holds a token while the question is not asked
	known bool
	value any
}

// once returns the answer to a question, and asks only if none is known. Different
// questions do not wait for each other.
func once[T any](ctx context.Context, a *answers, question string, ask func(context.Context) (T, error)) (T, error) {
	a.mu.Lock()
	if a.of == nil {
		a.of = map[string]*answer{}
	}
	if a.of[question] == nil {
		a.of[question] = &answer{turn: make(chan struct{}, 1)}
		a.of[question].turn <- struct{}{}
	}
	one := a.of[question]
	a.mu.Unlock()
	select {
	case <-one.turn:
		defer func() { one.turn <- struct{}{} }()
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
	if !one.known {
		value, err := ask(ctx)
		if err != nil {
			return value, err
		}
		one.known, one.value = true, value
	}
	return one.value.(T), nil
}
