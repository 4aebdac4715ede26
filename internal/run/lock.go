package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// LeaseDuration is the default time after which a lock without a heartbeat
// expires.
const LeaseDuration = 30 * time.Second

// LockOptions configures a Lock; the zero value has every default.
type LockOptions struct {
	// Notify reports a wait with its reason, and a takeover.
	Notify func(format string, args ...any)
	// Heartbeat is the interval in which the holder renews the lock, 10 s by default.
	Heartbeat time.Duration
	// LeaseDuration is the time without a heartbeat after which another process
	// takes over, 30 s by default.
	LeaseDuration time.Duration
	// Needs is the oldest release whose paictl knows what the cluster has or gets;
	// empty if any does. What an earlier holder found stays unless AllKnown is
	// set: the whole cluster was observed.
	Needs    pai.Release
	AllKnown bool
}

// Lock lets one process at a time change a cluster.
//
// It is a directory of numbered files. The highest number is the lock, and the
// process that creates the next number holds it. Files are created exclusively
// and the highest one is never removed, so two processes can never take over
// from the same holder, in whatever order they read and write. A holder that
// releases the lock marks its file as released.
//
// A holder on another host has expired if its file did not change for
// LeaseDuration on the clock of the waiting process: clocks of two hosts are
// never compared. A holder that could not write for a shorter time, the renew
// deadline, treats the lock as lost.
type Lock struct {
	store  Store
	o      LockOptions
	number int
	rounds int // claims of the lock of several machines

	mu      sync.Mutex
	holder  Holder
	renewed time.Time // start of the last heartbeat that succeeded
	err     error     // the reason for the loss
	unended bool      // a command might still run; see Unended

	lost chan struct{} // closed when err is set
	stop context.CancelFunc
	done chan struct{} // closed when renewLoop has ended
}

// Acquire takes the lock. If the holder is alive, the error has CodeLocked and
// names it. Acquire takes over from a dead process of this host at once, and
// from a process of another host when its lease has expired; it reports both.
func Acquire(ctx context.Context, s Store, h Holder, o LockOptions) (*Lock, error) {
	if o.Heartbeat == 0 {
		o.Heartbeat = 10 * time.Second
	}
	if o.LeaseDuration == 0 {
		o.LeaseDuration = LeaseDuration
	}
	if o.Notify == nil {
		o.Notify = func(string, ...any) {}
	}
	l := &Lock{store: s, o: o, holder: h, lost: make(chan struct{}), done: make(chan struct{})}
	for {
		number, last, err := latest(ctx, s)
		if err != nil {
			return nil, err
		}
		if err := l.holder.checkNeeds(last); err != nil {
			return nil, err
		}
		if err := refuseAlone(s, last, h); err != nil {
			return nil, err
		}
		expired := false
		if number > 0 && !last.Released {
			if expired, err = l.waitForExpiry(ctx, number, last); err != nil {
				return nil, err
			}
		}
		l.holder.Needs, l.holder.Stale, l.holder.Electors = o.needsAfter(last), staleAfter(last, expired), last.Electors
		if taken, err := l.take(ctx, number+1); err != nil {
			return nil, err
		} else if taken {
			break
		}
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.renewLoop(renewing)
	if q, several := s.(*Quorum); several {
		if err := q.begin(ctx, l); err != nil {
			return nil, errors.Join(err, l.Release(ctx))
		}
	}
	return l, nil
}

// waitForExpiry waits until the holder is dead or its lease has expired, or until it
// has released the lock: expired is false then. The error has CodeLocked when the
// holder is alive.
func (l *Lock) waitForExpiry(ctx context.Context, number int, h Holder) (expired bool, err error) {
	wait := h.worthWaiting()
	switch l.holder.livenessOf(h, l.o.LeaseDuration) {
	case alive:
		if wait == 0 {
			return false, lockedBy(h)
		}
	case dead:
		l.o.Notify("lock holder %s is no longer running; taking over the lock", h)
		l.expire(h)
		return true, nil
	case unknown:
	}
	if wait > 0 {
		l.o.Notify("the control-plane machine makes a backup; waiting up to %s for its end", wait.Round(time.Second))
	} else {
		l.o.Notify("the lock is held by %s; waiting up to %s for a heartbeat", h, l.o.LeaseDuration)
	}
	deadline, limit := time.Now().Add(l.o.LeaseDuration), time.Now().Add(wait)
	for time.Now().Before(deadline) {
		if err := poll.Sleep(ctx, l.o.Heartbeat/10); err != nil {
			return false, err
		}
		now, holder, err := current(ctx, l.store)
		switch {
		case err != nil:
			return false, err
		case holder == nil:
			return false, nil // it was released
		case now != number:
			return false, lockedBy(*holder)
		case !holder.Heartbeat.Equal(h.Heartbeat) && time.Now().Before(limit):
			h, deadline = *holder, time.Now().Add(l.o.LeaseDuration)
		case !holder.Heartbeat.Equal(h.Heartbeat):
			return false, lockedBy(*holder)
		}
	}
	l.o.Notify("lock holder %s sent no heartbeat for %s; taking over the lock", h, l.o.LeaseDuration)
	l.expire(h)
	return true, nil
}

func lockedBy(h Holder) error {
	return pai.Errorf(pai.CodeLocked, "wait until it has ended, or stop it on its host; to see its progress, run: paictl upgrade status",
		"another operation is in progress: %s", h)
}

// take tries to become the holder with a number. It returns false if another
// process was faster.
func (l *Lock) take(ctx context.Context, number int) (bool, error) {
	now := time.Now()
	l.holder.Since, l.holder.Heartbeat = now.UTC(), now.UTC()
	if q, several := l.store.(*Quorum); several {
		taken, err := q.take(ctx, l)
		l.renewed = now
		return taken, err
	}
	data, err := l.holder.encode()
	if err != nil {
		return false, err
	}
	err = l.store.CreateFile(ctx, LockFile(number), data, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// The file might exist, and only the response was lost.
		if h, readErr := readHolder(ctx, l.store, number); readErr != nil || h.Token != l.holder.Token {
			return false, fmt.Errorf("take lock: %w", err)
		}
	} else if err != nil {
		return false, nil
	}
	numbers, err := lockNumbers(ctx, l.store)
	if err != nil {
		return false, err
	}
	if len(numbers) == 0 || numbers[len(numbers)-1] != number { // an old number that was removed
		return false, l.store.Remove(ctx, LockFile(number))
	}
	l.number, l.renewed = number, now
	for _, n := range numbers[:len(numbers)-1] {
		if err := l.store.Remove(ctx, LockFile(n)); err != nil {
			l.o.Notify("cannot remove the lock file of a previous holder; it has no effect: %v", err)
		}
	}
	return true, nil
}

// renewLoop sends heartbeats until it is stopped or the lock is lost.
func (l *Lock) renewLoop(ctx context.Context) {
	defer close(l.done)
	for poll.Sleep(ctx, l.o.Heartbeat) == nil {
		once, cancel := context.WithTimeout(ctx, l.renewDeadline())
		err := l.renew(once)
		cancel()
		if ctx.Err() != nil || errors.Is(err, ErrLost) || l.Err() != nil {
			return // renew and Err stored the reason
		}
	}
}

// ErrLost means that another process can hold the lock by now. Nothing must be
// changed without it.
var ErrLost = errors.New("the lock is lost")

// renewDeadline is how long the holder trusts its lock without a heartbeat:
// less than other processes wait.
func (l *Lock) renewDeadline() time.Duration { return l.o.LeaseDuration - l.o.LeaseDuration/6 }

func (l *Lock) renew(ctx context.Context) error {
	began := time.Now()
	if _, err := l.confirm(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	l.holder.Heartbeat = began.UTC()
	h := l.holder
	l.mu.Unlock()
	if err := l.write(ctx, h); err != nil {
		return err
	}
	l.mu.Lock()
	l.renewed = began
	l.mu.Unlock()
	return nil
}

// confirm returns what is stored of this holder, and the reason for the loss if another
// process holds the lock.
func (l *Lock) confirm(ctx context.Context) (*Holder, error) {
	if q, several := l.store.(*Quorum); several {
		h, err := q.confirm(ctx, l)
		if errors.Is(err, ErrLost) {
			return nil, l.markLost(err)
		}
		return h, err
	}
	number, holder, err := current(ctx, l.store)
	if err != nil {
		return nil, err
	}
	if number != l.number || holder == nil || holder.Token != l.holder.Token {
		by := "no process"
		if holder != nil {
			by = holder.String()
		}
		return nil, l.markLost(fmt.Errorf("%w: it is now held by %s", ErrLost, by))
	}
	return holder, nil
}

func (l *Lock) write(ctx context.Context, h Holder) error {
	if q, several := l.store.(*Quorum); several {
		return q.writeLock(ctx, l.number, h)
	}
	data, err := h.encode()
	if err != nil {
		return err
	}
	if err := l.store.WriteFile(ctx, LockFile(l.number), data, 0o600); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	return nil
}

// markLost stores the first reason for the loss.
func (l *Lock) markLost(why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = &pai.Error{Code: pai.CodeLocked, Err: why, Next: "run the same command again; it waits for the lock and then continues"}
		close(l.lost)
	}
	return l.err
}

// Token names this acquisition of the lock.
func (l *Lock) Token() string { return l.holder.Token }

// Lost is closed when the lock is lost. The operation must stop then.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Err returns nil while the lock is held. It is cheap, so that the executor can
// call it before each step: a process that was suspended finds out there that
// its lease has expired.
func (l *Lock) Err() error {
	l.mu.Lock()
	renewed, err := l.renewed, l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	// Round(0) drops the monotonic clock, which stops while a host is suspended.
	// The wall clock can be set to an earlier time, so both are compared.
	now := time.Now()
	if since := max(now.Sub(renewed), now.Round(0).Sub(renewed.Round(0))); since > l.renewDeadline() {
		return l.markLost(fmt.Errorf("%w: it could not be renewed for %s", ErrLost, since.Round(time.Second)))
	}
	return nil
}

// ErrNotReleased means that the lock file still names this process. It must not
// start another operation; others take the lock over when it has ended.
var ErrNotReleased = errors.New("the lock could not be released")

// Release frees the lock, even if ctx is canceled. The error is ErrNotReleased
// if that failed.
func (l *Lock) Release(ctx context.Context) error {
	if q, several := l.store.(*Quorum); several {
		q.end(ctx)
		defer q.detach(l)
	}
	l.stop()
	<-l.done
	if err := l.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	holder, err := l.confirm(ctx)
	if errors.Is(err, ErrLost) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotReleased, err)
	}
	h := *holder
	l.mu.Lock()
	h.Needs, h.Stale, h.Released = l.holder.Needs, l.staleAfterRelease(), true
	l.mu.Unlock()
	if err := l.write(ctx, h); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReleased, err)
	}
	return nil
}
