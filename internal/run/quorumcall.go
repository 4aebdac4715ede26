package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

var (
	errUnreachable = errors.New("unreachable")
	errNotInLayout = errors.New("not in the configuration")
	errLost        = errors.New("it has no record of the control plane, as after the loss of its disk")
)

// ask calls do on the machines in parallel, each with the limit of a call. A nil enough waits
// for all.
func (q *Quorum) ask(ctx context.Context, names []string, enough func(has func(string) bool) bool, do func(context.Context, Elector) error) (ok []string, failed map[string]error) {
	got, failed := askAll(ctx, q, names, func(got map[string]struct{}) bool {
		return enough != nil && enough(func(name string) bool { _, has := got[name]; return has })
	}, func(ctx context.Context, e Elector) (struct{}, error) { return struct{}{}, do(ctx, e) })
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, has := got[name]; return !has }), failed
}

// askAll returns what the machines answered, and why others did not. Each name is in
// exactly one result. A machine that stays silent is waited for until the limit of a call, or
// a tenth of it longer than it takes to have enough.
func askAll[T any](ctx context.Context, q *Quorum, names []string, enough func(map[string]T) bool, do func(context.Context, Elector) (T, error)) (map[string]T, map[string]error) {
	type reply struct {
		name  string
		value T
		err   error
	}
	limit := q.o.CallLimit
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not responding within %s", limit))
	defer cancel()
	got, failed := map[string]T{}, map[string]error{}
	replies := make(chan reply, len(names))
	for _, e := range q.find(names) {
		if e.Store == nil {
			failed[e.Name] = q.absence(e.Name)
			continue
		}
		go func() {
			value, err := do(ctx, e)
			replies <- reply{e.Name, value, err}
		}()
	}
	ended := ctx.Done()
	var last <-chan time.Time
	for len(got)+len(failed) < len(names) {
		select {
		case r := <-replies:
			switch {
			case r.err == nil:
				got[r.name] = r.value
			case ctx.Err() != nil && !errors.Is(r.err, context.Cause(ctx)):
				failed[r.name] = fmt.Errorf("%w: %w", context.Cause(ctx), r.err)
			default:
				failed[r.name] = r.err
			}
			if last == nil && enough(got) {
				last = time.After(limit / 10)
			}
		case <-ended: // what runs ends now
			ended, last = nil, time.After(limit/10)
		case <-last:
			why := context.Cause(ctx)
			if why == nil {
				why = errors.New("not responding")
			}
			for _, name := range names {
				if _, has := got[name]; !has && failed[name] == nil {
					failed[name] = why
				}
			}
		}
	}
	return got, failed
}

// absence is why a machine without a connection cannot be asked.
func (q *Quorum) absence(name string) error {
	if slices.Contains(q.names(), name) {
		return errUnreachable
	}
	return errNotInLayout
}

// parallel calls do with each item, at most width at a time, and returns the errors.
func parallel[T any](width int, items []T, do func(T) error) error {
	var wg sync.WaitGroup
	free := make(chan struct{}, width)
	errs := make([]error, len(items))
	for i, item := range items {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			errs[i] = do(item)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// reasons lists why machines failed, by name.
func reasons(failed map[string]error) string {
	text := ""
	for i, name := range slices.Sorted(maps.Keys(failed)) {
		if i > 0 {
			text += "; "
		}
		text += fmt.Sprintf("%s: %v", name, failed[name])
	}
	return text
}
