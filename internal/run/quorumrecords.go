package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// change lets the holder of the lock change a record, one change at a time. do ends before
// another process can hold the lock.
func (q *Quorum) change(ctx context.Context, verb, file string, do func(context.Context) error) error {
	if !isShared(file) {
		return notShared(verb, file)
	}
	err := q.exclusive(ctx, func(ctx context.Context) error {
		if _, _, held := q.holder(); !held {
			return notHeld(verb, file)
		}
		if err := q.publish(ctx); err != nil {
			return err
		}
		return do(ctx)
	})
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return fmt.Errorf("%s file %q on the control-plane machines: %w", verb, file, err)
}

// exclusive runs do while nothing else changes records or the view, and while the lock is held.
func (q *Quorum) exclusive(ctx context.Context, do func(context.Context) error) error {
	select {
	case q.writing <- struct{}{}:
		defer func() { <-q.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if l, _, held := q.holder(); held {
		if err := l.Err(); err != nil {
			return err
		}
		var cancel context.CancelFunc
		ctx, cancel = l.whileHeld(ctx)
		defer cancel()
	}
	return do(ctx)
}

// everywhere does a change on all machines that are in sync. It returns nil when all that stay
// in sync have it.
func (q *Quorum) everywhere(ctx context.Context, do func(context.Context, Elector) error) error {
	_, failed := q.ask(ctx, q.inSync(), nil, do)
	if len(failed) == 0 {
		return nil
	}
	return q.drop(ctx, failed)
}

// drop takes machines where a change failed out of those that are in sync, at a majority.
// It fails if less than a majority would be left.
func (q *Quorum) drop(ctx context.Context, failed map[string]error) error {
	q.mu.Lock()
	before, v := q.unsettled, q.view.clone()
	q.unsettled = true // until a majority knows which copies differ
	q.mu.Unlock()
	if ctx.Err() != nil { // that is not the fault of a machine
		return context.Cause(ctx)
	}
	v.InSync = slices.DeleteFunc(v.InSync, func(name string) bool { return failed[name] != nil })
	if !v.agreed(listed(v.InSync)) {
		return q.tooFewInSync(v, failed)
	}
	q.o.Notify("the records on %s are outdated until it is reachable again: %s", list(keys(failed)), reasons(failed))
	q.adoptView(v)
	if err := q.publish(ctx); err != nil {
		return err
	}
	q.mu.Lock()
	q.unsettled = before
	q.mu.Unlock()
	return nil
}

// adoptView makes a view that of this holder. No change counts before it is published.
func (q *Quorum) adoptView(v view) {
	q.mu.Lock()
	defer q.mu.Unlock()
	v.id = q.view.id
	q.view, q.unpublished = v, true
}

// publish writes the view on a majority, if that is not done.
func (q *Quorum) publish(ctx context.Context) error {
	q.mu.Lock()
	if !q.unpublished {
		q.mu.Unlock()
		return nil
	}
	previous := q.view.id
	q.view.id = viewID{q.lock.number, 0}
	if previous.lock == q.lock.number {
		q.view.id.change = previous.change + 1
	}
	v := q.view.clone()
	q.mu.Unlock()
	ok, failed := q.writeView(ctx, v, v.members(), previous)
	if !v.agreed(listed(ok)) {
		return fmt.Errorf("write which machines are in sync: %w", tooFewOf(v, failed))
	}
	q.mu.Lock()
	q.unpublished = false
	q.mu.Unlock()
	return nil
}

// writeView writes a view on machines, and removes the previous one there.
func (q *Quorum) writeView(ctx context.Context, v view, names []string, previous viewID) (ok []string, failed map[string]error) {
	data, err := v.encode()
	if err != nil {
		return nil, map[string]error{names[0]: err}
	}
	return q.ask(ctx, names, v.agreed, func(ctx context.Context, e Elector) error {
		if err := e.Store.CreateFile(ctx, v.id.file(), data, 0o600); err != nil {
			return err
		}
		if previous.lock > 0 {
			_ = e.Store.Remove(ctx, previous.file()) // an older view has no effect
		}
		return nil
	})
}

// readAge is how long a reader without the lock relies on the view that it read: it can miss
// what was written since.
const readAge = 5 * time.Second

// readFrom asks a machine that is in sync, and the next one if it fails.
func readFrom[T any](ctx context.Context, q *Quorum, do func(context.Context, Store) (T, error)) (T, error) {
	names, stale, err := q.readable(ctx)
	var value T
	if err != nil {
		return value, err
	}
	failed := map[string]error{}
	for _, name := range names {
		got, why := askAll(ctx, q, []string{name}, func(map[string]T) bool { return true },
			func(ctx context.Context, e Elector) (T, error) { return do(ctx, e.Store) })
		value, err = got[name], why[name]
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			q.noteRead(name, nil)
			return value, errors.Join(err, stale)
		}
		if ctx.Err() != nil {
			return value, context.Cause(ctx)
		}
		failed[name] = err
		q.noteRead(name, err)
	}
	return value, errors.Join(fmt.Errorf("no control-plane machine with current records can be read: %s", reasons(failed)), stale)
}

// readable are the machines to read from, the best first. stale is an ErrStale if they might
// be outdated.
func (q *Quorum) readable(ctx context.Context) (names []string, stale, err error) {
	if l, v, held := q.holder(); held && l.Err() == nil {
		return q.order(v.InSync), nil, nil
	}
	q.mu.Lock()
	s, fresh := q.read, time.Since(q.readAt) < readAge && q.read.answered()
	q.mu.Unlock()
	if !fresh {
		s = q.survey(ctx)
		q.mu.Lock()
		q.read, q.readAt = s, time.Now()
		q.mu.Unlock()
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	reached := func(name string) bool { _, ok := s.looks[name]; return ok }
	for _, name := range s.view.InSync {
		if reached(name) {
			names = append(names, name)
		}
	}
	if s.answered() && len(names) > 0 {
		return q.order(names), nil, nil
	}
	for _, name := range q.names() {
		if reached(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if why := q.tooFew(s); len(names) == 0 {
		return nil, nil, why
	} else {
		return names, q.stale(why), nil
	}
}

// order puts machines last that could not be read.
func (q *Quorum) order(names []string) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	names = slices.Clone(names)
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case q.avoid[a] == q.avoid[b]:
			return 0
		case q.avoid[b]:
			return -1
		default:
			return 1
		}
	})
	return names
}

func (q *Quorum) noteRead(name string, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.avoid[name] = err != nil
}
