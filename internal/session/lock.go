package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// Locked holds the lock of the cluster while do runs. The context of do ends
// when the lock is lost, and no command and no write starts in it from then on. What
// earlier holders left running on machines is ended before.
func (s *Session) Locked(ctx context.Context, verb pai.Verb, o run.LockOptions, do func(context.Context, *run.Lock) error) (err error) {
	store, err := s.Store()
	if err != nil {
		return err
	}
	holder, err := run.ThisProcess(s.Version, verb)
	if err != nil {
		return err
	}
	lock, err := run.Acquire(ctx, store, holder, o)
	if err != nil {
		return err
	}
	defer func() { err = JoinDistinct(err, lock.Release(ctx)) }()
	if err := s.endStale(ctx, lock); err != nil {
		return err
	}
	held, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-lock.Lost():
			cancel(lock.Err())
		case <-held.Done():
		}
	}()
	return do(fence.With(held, fence.Fence{Token: lock.Token(), Held: lock.Err, Unended: lock.Unended}), lock)
}

// staleTimeout is the time for commands of earlier holders to end, which is longer than
// the limit on each machine.
const staleTimeout = 90 * time.Second

// staleLock is a lock that names the earlier holders whose commands might still run.
type staleLock interface {
	Stale() []string
	StaleEnded(tokens []string)
}

// endStale ends the commands of earlier holders of the lock on all machines. It refuses if
// they do not end. Nothing is changed on a machine that this session does not reach: the
// lock names the holders until an operation has reached every machine.
func (s *Session) endStale(ctx context.Context, lock staleLock) error {
	tokens := lock.Stale()
	if len(tokens) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, staleTimeout, fmt.Errorf("no end within %s", staleTimeout))
	defer cancel()
	slow := time.AfterFunc(5*time.Second, func() { s.Progressf("waiting up to %s for commands of an earlier operation to end", staleTimeout) })
	defer slow.Stop()
	names := slices.Sorted(maps.Keys(s.Hosts))
	failed := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { failed[i] = machine.EndStale(ctx, s.Hosts[name], tokens) })
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return pai.Errorf(pai.CodeFailed, "run the same command again; if it names processes, end them on their machine, or restart it, before",
			"commands of an earlier operation might still run: %w", err)
	}
	unreached := func(m config.Machine) bool { return s.Hosts[m.Hostname] == nil }
	if !slices.ContainsFunc(s.Config.Layout.MachineList, unreached) {
		lock.StaleEnded(tokens)
	}
	return nil
}

// JoinDistinct joins errors and leaves out an error that an earlier one wraps or
// repeats: a journal that cannot be written fails at every entry.
func JoinDistinct(errs ...error) error {
	var distinct []error
	for _, err := range errs {
		known := func(e error) bool { return errors.Is(e, err) || e.Error() == err.Error() }
		if err != nil && !slices.ContainsFunc(distinct, known) {
			distinct = append(distinct, err)
		}
	}
	return errors.Join(distinct...)
}

// Operator is the user who runs this process, as user@host.
func Operator() string {
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return name + "@" + host
}
