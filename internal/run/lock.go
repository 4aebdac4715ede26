package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// defaultExpiry is after how long without a sign of life a lock is free.
const defaultExpiry = 30 * time.Second

// LockOptions may be left empty.
type LockOptions struct {
	// Notify tells the user that it waits, and why, and that it took over.
	Notify func(format string, args ...any)
	// Heartbeat is how often a holder shows that it lives, 10 s by default.
	Heartbeat time.Duration
	// Expiry is after how long without a heartbeat another takes over, 30 s by
	// default.
	Expiry time.Duration
}

// Lock is the one right to change a cluster.
//
// It is a folder of numbered files, of which the highest is the lock: whoever
// creates the next number has it. A file is created exclusively and the
// highest one is never removed, so two can never take over from the same
// holder, whatever the order in which they read and write. A holder that lets
// go leaves its file as released.
//
// A holder elsewhere has expired when its file did not change for Expiry by
// the clock of whoever waits: clocks of two hosts are never compared. A holder
// that could not write for a little less than that has lost the lock.
type Lock struct {
	store  Store
	o      LockOptions
	number int

	mu     sync.Mutex
	holder Holder
	beaten time.Time // when the last heartbeat that succeeded was begun
	err    error     // why it was lost

	lost chan struct{} // closed when err is set
	stop context.CancelFunc
	done chan struct{} // closed when the heartbeat has ended
}

func lockFile(number int) string { return path.Join(Dir, "lock", fmt.Sprintf("%09d", number)) }

// Acquire takes the lock. A live holder is a pai.Error with CodeLocked that
// names it. One that died on this host is taken over from at once, one
// elsewhere that shows no life after Expiry, both with a notice.
func Acquire(ctx context.Context, s Store, h Holder, o LockOptions) (*Lock, error) {
	if o.Heartbeat == 0 {
		o.Heartbeat = 10 * time.Second
	}
	if o.Expiry == 0 {
		o.Expiry = defaultExpiry
	}
	if o.Notify == nil {
		o.Notify = func(string, ...any) {}
	}
	l := &Lock{store: s, o: o, holder: h, lost: make(chan struct{}), done: make(chan struct{})}
	for {
		number, holder, err := Current(ctx, s)
		if err != nil {
			return nil, err
		}
		if holder != nil {
			if err := l.outlive(ctx, number, *holder); err != nil {
				return nil, err
			}
		}
		if taken, err := l.take(ctx, number+1); err != nil {
			return nil, err
		} else if taken {
			break
		}
	}
	beat, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.beat(beat)
	return l, nil
}

// Current is the lock's number and its holder; nil where nobody holds it.
func Current(ctx context.Context, s Store) (number int, holder *Holder, err error) {
	numbers, err := lockNumbers(ctx, s)
	if err != nil || len(numbers) == 0 {
		return 0, nil, err
	}
	number = numbers[len(numbers)-1]
	h, err := readHolder(ctx, s, number)
	if errors.Is(err, fs.ErrNotExist) { // a newer one has followed just now
		return Current(ctx, s)
	}
	if err != nil || h.Released {
		return number, nil, err
	}
	return number, &h, nil
}

// outlive returns nil once the holder is known to be dead, and an error when
// it is known to live.
func (l *Lock) outlive(ctx context.Context, number int, h Holder) error {
	switch l.holder.healthOf(h, l.o.Expiry) {
	case alive:
		return lockedBy(h)
	case dead:
		l.o.Notify("the lock was held by %s, which has died; taking over", h)
		return nil
	}
	l.o.Notify("the lock is held by %s; waiting up to %s for a sign of life", h, l.o.Expiry)
	deadline := time.Now().Add(l.o.Expiry)
	for time.Now().Before(deadline) {
		if err := poll.Sleep(ctx, l.o.Heartbeat/10); err != nil {
			return err
		}
		now, holder, err := Current(ctx, l.store)
		switch {
		case err != nil:
			return err
		case holder == nil:
			return nil // it has let go
		case now != number:
			return lockedBy(*holder)
		case !holder.Heartbeat.Equal(h.Heartbeat):
			return lockedBy(*holder)
		}
	}
	l.o.Notify("the lock was held by %s, which has shown no life for %s; taking over", h, l.o.Expiry)
	return nil
}

func lockedBy(h Holder) error {
	return pai.Errorf(pai.CodeLocked, "wait until it has ended, or stop it there; upgrade status shows how far it is",
		"another operation is under way: %s", h)
}

// take tries to become the holder with a number; false when another was
// quicker.
func (l *Lock) take(ctx context.Context, number int) (bool, error) {
	now := time.Now()
	l.holder.Since, l.holder.Heartbeat = now.UTC(), now.UTC()
	data, err := json.Marshal(l.holder)
	if err != nil {
		return false, fmt.Errorf("encode the lock: %w", err)
	}
	err = l.store.CreateFile(ctx, lockFile(number), data, 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// The file may be there all the same, with the answer lost.
		if h, readErr := readHolder(ctx, l.store, number); readErr != nil || h.Token != l.holder.Token {
			return false, fmt.Errorf("take the lock: %w", err)
		}
	} else if err != nil {
		return false, nil
	}
	numbers, err := lockNumbers(ctx, l.store)
	if err != nil {
		return false, err
	}
	if len(numbers) == 0 || numbers[len(numbers)-1] != number { // a number of the past, removed since
		return false, l.store.Remove(ctx, lockFile(number))
	}
	l.number, l.beaten = number, now
	for _, n := range numbers[:len(numbers)-1] {
		if err := l.store.Remove(ctx, lockFile(n)); err != nil {
			l.o.Notify("a lock file of an earlier holder stays behind, which does no harm: %v", err)
		}
	}
	return true, nil
}

// beat shows life until it is stopped or the lock is lost.
func (l *Lock) beat(ctx context.Context) {
	defer close(l.done)
	for poll.Sleep(ctx, l.o.Heartbeat) == nil {
		once, cancel := context.WithTimeout(ctx, l.patience())
		err := l.beatOnce(once)
		cancel()
		if ctx.Err() != nil || errors.Is(err, errLost) || l.Err() != nil {
			return // beatOnce and Err have remembered why
		}
	}
}

var errLost = errors.New("the lock is lost")

// patience is how long a holder believes in its lock without a heartbeat: less
// than the others wait.
func (l *Lock) patience() time.Duration { return l.o.Expiry - l.o.Expiry/6 }

func (l *Lock) beatOnce(ctx context.Context) error {
	began := time.Now()
	number, holder, err := Current(ctx, l.store)
	if err != nil {
		return err
	}
	if number != l.number || holder == nil || holder.Token != l.holder.Token {
		by := "nobody"
		if holder != nil {
			by = holder.String()
		}
		return l.lose(fmt.Errorf("%w: it is now held by %s", errLost, by))
	}
	l.mu.Lock()
	l.holder.Heartbeat = began.UTC()
	h := l.holder
	l.mu.Unlock()
	if err := l.write(ctx, h); err != nil {
		return err
	}
	l.mu.Lock()
	l.beaten = began
	l.mu.Unlock()
	return nil
}

func (l *Lock) write(ctx context.Context, h Holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode the lock: %w", err)
	}
	if err := l.store.WriteFile(ctx, lockFile(l.number), data, 0o600); err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	return nil
}

// lose remembers why the lock was lost, the first time.
func (l *Lock) lose(why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = &pai.Error{Code: pai.CodeLocked, Err: why, Next: "run the same command again: it waits for its turn, and goes on where this one stopped"}
		close(l.lost)
	}
	return l.err
}

// Lost is closed when the lock is lost; the operation must stop then.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Err is nil while the lock is held. It is cheap, and meant to be asked before
// each step: also a process that was suspended learns from it that its time
// has passed.
func (l *Lock) Err() error {
	l.mu.Lock()
	beaten, err := l.beaten, l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	// Round(0) takes the monotonic clock away, which stands still in a suspended
	// host; the other clock may be set back.
	now := time.Now()
	if since := max(now.Sub(beaten), now.Round(0).Sub(beaten.Round(0))); since > l.patience() {
		return l.lose(fmt.Errorf("%w: it could not be renewed for %s", errLost, since.Round(time.Second)))
	}
	return nil
}

// ErrNotReleased is why nothing more can be begun by a process whose lock
// stays: others take it over once the process has ended.
var ErrNotReleased = errors.New("the lock could not be given back")

// Release lets the lock go, also when the user has interrupted. It fails with
// ErrNotReleased where the lock stays.
func (l *Lock) Release(ctx context.Context) error {
	l.stop()
	<-l.done
	if err := l.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	number, holder, err := Current(ctx, l.store)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotReleased, err)
	}
	if number != l.number || holder == nil || holder.Token != l.holder.Token {
		return l.lose(fmt.Errorf("%w: somebody else has it", errLost))
	}
	h := *holder
	h.Released = true
	if err := l.write(ctx, h); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReleased, err)
	}
	return nil
}

// lockNumbers lists the lock's files, lowest first. Temporary files of a store
// are none.
func lockNumbers(ctx context.Context, s Store) ([]int, error) {
	names, err := s.ReadDir(ctx, path.Join(Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("list the lock: %w", err)
	}
	var numbers []int
	for _, name := range names { // sorted, and all of one length
		if n, err := strconv.Atoi(name); err == nil && len(name) == 9 {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

func readHolder(ctx context.Context, s Store, number int) (Holder, error) {
	data, err := s.ReadFile(ctx, lockFile(number))
	if err != nil {
		return Holder{}, fmt.Errorf("read the lock: %w", err)
	}
	var h Holder
	if err := json.Unmarshal(data, &h); err != nil || h.Token == "" {
		return Holder{}, pai.Errorf(pai.CodeFailed, "look at the file on the control-plane machine; if nobody works on the cluster, remove it",
			"lock file %s is damaged: %w", lockFile(number), errors.Join(err, errors.New("it names no holder")))
	}
	return h, nil
}
