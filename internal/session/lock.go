package session

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"time"

	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

// Locked holds the lock of the cluster while do runs. The context of do ends
// when the lock is lost, and no command and no write starts in it from then on. What a
// previous holder left running on machines is ended before.
func (s *Session) Locked(ctx context.Context, verb pai.Verb, o run.LockOptions, do func(context.Context, *run.Lock) error) (err error) {
	host, err := s.ControlPlane()
	if err != nil {
		return err
	}
	holder, err := run.ThisProcess(s.Version, verb)
	if err != nil {
		return err
	}
	lock, err := run.Acquire(ctx, host, holder, o)
	if err != nil {
		return err
	}
	defer func() { err = JoinDistinct(err, lock.Release(ctx)) }()
	if err := s.endStale(ctx, lock.Previous()); err != nil {
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
	return do(fence.With(held, fence.Fence{Token: lock.Token(), Held: lock.Err}), lock)
}

// staleTimeout is the time for commands of a previous holder to end.
const staleTimeout = 30 * time.Second

// endStale ends the commands of a previous holder of the lock on all machines.
func (s *Session) endStale(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, staleTimeout)
	defer cancel()
	failed := make([]error, len(s.Hosts))
	var wg sync.WaitGroup
	for i, name := range slices.Sorted(maps.Keys(s.Hosts)) {
		wg.Go(func() { failed[i] = machine.EndStale(ctx, s.Hosts[name], token) })
	}
	wg.Wait()
	return errors.Join(failed...)
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
