package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
)

// ChangeElectorate makes other machines those that vote on the lock and have the records. They
// are electors of this store, and the lock is held through it. A majority of them must answer,
// and a majority of those before. After a kill, the next holder completes the change, or
// finds nothing of it.
//
// The new machines first get the records and the lock. Then a majority of both electorates
// gets a view with both, so that a process which knows one of them finds the other. From then on
// a majority of both is needed, until a majority of the new one has a view without the old.
func (q *Quorum) ChangeElectorate(ctx context.Context, electors []string) error {
	electors = distinct(electors)
	return q.exclusive(ctx, func(ctx context.Context) error {
		_, v, held := q.holder()
		switch {
		case !held:
			return errors.New("change the control-plane machines that vote: the lock of the cluster is not held")
		case len(electors) == 0:
			return errors.New("change the control-plane machines that vote: none is named")
		case len(v.Next) == 0 && slices.Equal(slices.Sorted(slices.Values(v.Electors)), slices.Sorted(slices.Values(electors))):
			return nil
		}
		if err := q.outdated(view{Electors: electors}); err != nil {
			return err
		}
		if err := q.publish(ctx); err != nil {
			return err
		}
		before := v.clone()
		v.Next = slices.Clone(electors)
		failed := map[string]error{}
		for _, name := range electors {
			if slices.Contains(v.InSync, name) {
				continue
			}
			if err := q.fill(ctx, v.InSync[0], name); err != nil {
				failed[name] = err
				continue
			}
			v.InSync = append(v.InSync, name)
		}
		if !v.agreed(listed(v.InSync)) {
			return q.tooFewInSync(view{Electors: electors, InSync: v.InSync}, failed)
		}
		q.adoptView(v) // from now on, the lock needs a majority of both
		if err := q.renewLock(ctx); err != nil {
			q.adoptView(before) // it was not published
			return err
		}
		if err := q.publish(ctx); err != nil {
			return err
		}
		return q.completeChange(ctx)
	})
}

// fill gives a new machine the records and the lock. What it has of another lock has no
// effect: it does not vote yet.
func (q *Quorum) fill(ctx context.Context, source, name string) error {
	if err := q.copyRecords(ctx, source, name); err != nil {
		return err
	}
	l, _, _ := q.holder()
	_, failed := q.ask(ctx, []string{name}, nil, func(ctx context.Context, e Elector) error {
		found, err := lookAt(ctx, e.Store)
		if err != nil {
			return err
		}
		for _, number := range found.numbers {
			if number == l.number {
				continue
			}
			if err := e.Store.Remove(ctx, LockFile(number)); err != nil {
				return err
			}
		}
		return nil
	})
	return failed[name]
}

// renewLock writes the lock with the electorate that it has now.
func (q *Quorum) renewLock(ctx context.Context) error {
	l, _, _ := q.holder()
	l.mu.Lock()
	h := l.holder
	l.mu.Unlock()
	return q.writeLock(ctx, l.number, h)
}

// completeChange ends a change of the electorate that a majority of both knows.
func (q *Quorum) completeChange(ctx context.Context) error {
	_, v, _ := q.holder()
	if len(v.Next) == 0 {
		return nil
	}
	before := v.members()
	v.Electors, v.Next = v.Next, nil
	v.InSync = slices.DeleteFunc(v.InSync, func(name string) bool { return !slices.Contains(v.Electors, name) })
	q.adoptView(v)
	if err := q.publish(ctx); err != nil {
		return err
	}
	_ = q.renewLock(ctx) // else the next heartbeat writes it
	// Machines that left get the view too, so that they name the others.
	_, v, _ = q.holder()
	left := slices.DeleteFunc(before, listed(v.Electors))
	q.writeView(ctx, v, left, viewID{})
	q.o.Notify("the control plane is now %s", list(v.Electors))
	return nil
}

// refuseAlone refuses the lock on one machine of several. A scheduled backup takes it there:
// it changes nothing, and the holder of the lock of all waits for it.
func refuseAlone(s Store, last, h Holder) error {
	if _, several := s.(*Quorum); several || len(last.Electors) < 2 || h.Verb == pai.VerbScheduledBackup {
		return nil
	}
	return olderConfiguration(fmt.Sprintf("its lock is on %s", list(last.Electors)))
}
