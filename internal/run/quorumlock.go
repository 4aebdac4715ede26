package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// The lock of several machines has the files of Lock on each of them. A process claims the
// next number by creating its file on all machines. It holds the lock if, on a majority, its
// claim is the highest and nothing else was claimed since it looked before. Else it marks its
// claim as withdrawn, and tries again later. A claim that is neither released nor withdrawn
// blocks others, whatever the number of machines that have it, until it expires: its process
// might be about to complete a majority, or have one on machines that are unreachable.

// claims are the claims that count: the highest of each voting machine that was not withdrawn.
// A claim below the number of the view is over, because a later process held the lock.
func (s survey) claims() map[string]claim {
	claims := map[string]claim{}
	for _, name := range s.view.members() {
		if l, ok := s.looks[name]; ok && l.top.number > 0 && l.top.number >= s.view.id.lock {
			claims[name] = l.top
		}
	}
	return claims
}

// highest is the highest number that was used.
func (s survey) highest() int {
	n := s.view.id.lock
	for _, l := range s.looks {
		for _, number := range l.numbers {
			n = max(n, number)
		}
	}
	return n
}

// holders sorts claims by process: those that might hold the lock, and those that do not. A
// process that released one copy has released all.
func (q *Quorum) holders(s survey) (live, over []claim) {
	q.mu.Lock()
	defer q.mu.Unlock()
	byToken := map[string]claim{}
	for _, c := range s.claims() {
		known, ok := byToken[c.Token]
		released := c.Released || (ok && known.Released)
		if !ok || known.number < c.number {
			known = c
		}
		known.Released, known.Heartbeat = released, q.lastHeartbeat(c)
		byToken[c.Token] = known
	}
	for token, c := range byToken {
		if last, expired := q.void[token]; c.Released || (expired && last.Equal(c.Heartbeat)) {
			over = append(over, c)
		} else {
			live = append(live, c)
		}
	}
	for _, list := range [][]claim{live, over} {
		slices.SortFunc(list, func(a, b claim) int { return cmp.Or(b.number-a.number, cmp.Compare(a.Token, b.Token)) })
	}
	return live, over
}

// lastHeartbeat is the heartbeat of a claim that was seen last for the first time. Machines
// have different ones, and not all of them answer each time: a heartbeat that was seen
// before is no sign of life. Heartbeats are not compared, because a clock can be set. It needs
// mu.
func (q *Quorum) lastHeartbeat(c claim) time.Time {
	beats := q.beats[c.Token]
	if !slices.ContainsFunc(beats, c.Heartbeat.Equal) {
		beats = append(beats, c.Heartbeat)
		q.beats[c.Token] = beats
	}
	return beats[len(beats)-1]
}

// latest returns the number and the holder of the lock like the function latest. Of several
// claims, it returns one that might hold the lock.
func (q *Quorum) latest(ctx context.Context) (int, Holder, error) {
	s := q.survey(ctx)
	if err := q.usable(s); err != nil {
		return 0, Holder{}, err
	}
	c := q.holderIn(s)
	return c.number, c.Holder, nil
}

// current is Current. With less than a majority, it returns what the machines that answered
// have, and an error that wraps ErrStale.
func (q *Quorum) current(ctx context.Context) (int, *Holder, error) {
	s := q.survey(ctx)
	c := q.holderIn(s)
	var err error
	if !s.answered() {
		err = q.stale(q.tooFew(s))
	}
	if c.number == 0 || c.Released {
		return c.number, nil, err
	}
	return c.number, &c.Holder, err
}

func (q *Quorum) holderIn(s survey) claim {
	live, over := q.holders(s)
	all := append(slices.Clone(live), over...)
	if len(all) == 0 {
		return claim{}
	}
	c := all[0]
	c.Released = len(live) == 0
	for _, other := range all[1:] { // what any of them leaves to the next holder
		c.Stale = append(slices.Clone(c.Stale), other.Stale...)
		if !other.Needs.AtLeast(c.Needs) {
			continue
		}
		c.Needs = other.Needs
	}
	for _, other := range over {
		if !other.Released && other.Verb != pai.VerbScheduledBackup {
			c.Stale = append(c.Stale, other.Token) // it expired
		}
	}
	slices.Sort(c.Stale)
	c.Stale = slices.Compact(c.Stale)
	return c
}

// expire says that a holder does not block this process any longer.
func (l *Lock) expire(h Holder) {
	if q, several := l.store.(*Quorum); several {
		q.expire(h)
	}
}

// whileHeld returns a context that ends when the lock is lost.
func (l *Lock) whileHeld(ctx context.Context) (context.Context, context.CancelFunc) {
	held, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			if err := l.Err(); err != nil {
				cancel(err)
				return
			}
			l.mu.Lock()
			end := l.renewed.Add(l.renewDeadline())
			l.mu.Unlock()
			if poll.Sleep(held, time.Until(end)+time.Millisecond) != nil {
				return
			}
		}
	}()
	return held, func() { cancel(nil) }
}

// expire says that a holder is dead or sent no heartbeat for its lease. It does not block
// this store any longer, unless it sends one.
func (q *Quorum) expire(h Holder) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.void[h.Token] = h.Heartbeat
}

// maxRounds limits how often a process claims the lock while others do.
const maxRounds = 30

// take claims the lock for a process. It returns false if it is to look again: another process
// was faster, or claimed at the same time.
func (q *Quorum) take(ctx context.Context, l *Lock) (bool, error) {
	before := q.survey(ctx)
	if err := q.usable(before); err != nil {
		return false, err
	}
	if live, _ := q.holders(before); len(live) > 0 {
		return false, nil
	}
	l.number = before.highest() + 1
	l.holder.Electors = nil
	if members := before.view.members(); len(members) > 1 {
		l.holder.Electors = members
	}
	data, err := l.holder.encode()
	if err != nil {
		return false, err
	}
	members := before.view.members()
	_, failed := q.ask(ctx, members, before.view.agreed, func(ctx context.Context, e Elector) error {
		return e.Store.CreateFile(ctx, LockFile(l.number), data, 0o600)
	})
	after := q.survey(ctx)
	if won(before, after, l.number, l.holder.Token) {
		q.mu.Lock()
		q.lock, q.view, q.base = l, after.view.clone(), after
		q.unpublished, q.unsettled = true, false
		q.mu.Unlock()
		q.removeOlder(ctx, after, l.number)
		return true, nil
	}
	q.withdraw(ctx, members, l)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if !contended(before, after, l.number, l.holder.Token) {
		if err := q.usable(after); err != nil {
			return false, err
		}
		return false, fmt.Errorf("take lock: %s", reasons(failed))
	}
	if l.rounds++; l.rounds > maxRounds {
		return false, pai.Errorf(pai.CodeLocked, "run the command again", "other operations take the lock at the same time")
	}
	return false, poll.Sleep(ctx, 200*time.Millisecond+rand.N(800*time.Millisecond))
}

// won reports whether a claim holds the lock: on a majority of the electorate, which did not
// change, it is the highest, and no other number appeared since the look before it.
func won(before, after survey, number int, token string) bool {
	if !after.answered() || !after.view.sameElectorate(before.view) || after.view.id.lock >= number {
		return false
	}
	return after.view.agreed(func(name string) bool {
		now, ok := after.looks[name]
		seen, asked := before.looks[name]
		return ok && asked && now.top.number == number && now.top.Token == token &&
			!slices.ContainsFunc(now.numbers, func(n int) bool { return n != number && !slices.Contains(seen.numbers, n) })
	})
}

// contended reports whether a claim did not win because of another one.
func contended(before, after survey, number int, token string) bool {
	if after.view.id.lock >= number || !after.view.sameElectorate(before.view) {
		return true
	}
	for name, now := range after.looks {
		if now.top.number >= number && now.top.Token != token {
			return true
		}
		if slices.ContainsFunc(now.numbers, func(n int) bool { return n != number && !slices.Contains(before.looks[name].numbers, n) }) {
			return true
		}
	}
	return false
}

// withdraw marks the claims of a process that did not get the lock. One that is not reached
// expires.
func (q *Quorum) withdraw(ctx context.Context, names []string, l *Lock) {
	h := l.holder
	h.Released, h.Withdrawn = true, true
	data, err := h.encode()
	if err != nil {
		return // it was encoded before
	}
	ctx = context.WithoutCancel(ctx)
	q.ask(ctx, names, nil, func(ctx context.Context, e Elector) error {
		if h, err := readHolder(ctx, e.Store, l.number); err != nil || h.Token != l.holder.Token {
			return err
		}
		return e.Store.WriteFile(ctx, LockFile(l.number), data, 0o600)
	})
}

// removeOlder removes the lock files of previous holders where the new one is.
func (q *Quorum) removeOlder(ctx context.Context, s survey, number int) {
	_, failed := q.ask(ctx, s.view.members(), s.view.agreed, func(ctx context.Context, e Elector) error {
		l, ok := s.looks[e.Name]
		if !ok || l.top.number != number {
			return nil
		}
		for _, n := range l.numbers[:len(l.numbers)-1] {
			if err := e.Store.Remove(ctx, LockFile(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if !s.view.agreed(func(name string) bool { return failed[name] == nil }) {
		q.o.Notify("cannot remove the lock files of previous holders; they have no effect: %s", reasons(failed))
	}
}

// confirm returns the stored holder while a lock is held: on a majority, it is the highest
// claim. The error is an ErrLost if another process held the lock since.
func (q *Quorum) confirm(ctx context.Context, l *Lock) (*Holder, error) {
	s := q.survey(ctx)
	if s.view.id.lock > l.number {
		c := q.holderIn(s)
		return nil, fmt.Errorf("%w: it is now held by %s", ErrLost, c.Holder)
	}
	_, v, held := q.holder()
	if !held {
		return nil, fmt.Errorf("%w: it was released", ErrLost)
	}
	ours := func(name string) bool {
		look, ok := s.looks[name]
		return ok && look.top.number == l.number && look.top.Token == l.holder.Token
	}
	if !v.agreed(ours) {
		s.view = v
		return nil, errors.Join(q.usable(s), fmt.Errorf("another process claims the lock"))
	}
	for _, name := range v.members() {
		if ours(name) {
			h := s.looks[name].top.Holder
			return &h, nil
		}
	}
	return nil, ErrLost
}

// writeLock writes the file of a held lock on all machines that vote, and needs a majority.
func (q *Quorum) writeLock(ctx context.Context, number int, h Holder) error {
	_, v, _ := q.holder()
	if h.Electors = nil; len(v.members()) > 1 {
		h.Electors = v.members()
	}
	data, err := h.encode()
	if err != nil {
		return err
	}
	ok, failed := q.ask(ctx, v.members(), v.agreed, func(ctx context.Context, e Elector) error {
		return e.Store.WriteFile(ctx, LockFile(number), data, 0o600)
	})
	if !v.agreed(listed(ok)) {
		return fmt.Errorf("write lock: %w", tooFewOf(v, failed))
	}
	return nil
}
