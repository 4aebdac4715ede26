package scheduledbackup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/internal/run"
)

const (
	// busyEvery is the pause before the next look at a cluster that is being changed.
	busyEvery = 30 * time.Second
	// busyLimit is how long a backup waits for an operation. An operation that takes
	// longer is worth an alert.
	busyLimit = 12 * time.Hour
	// stuckLimit is how long a directory can be stuck after run.BackupLimit: it can be on
	// a network share that hangs.
	stuckLimit = 30 * time.Second
	// recordedError bounds the text of a failure.
	recordedError = 500
)

// errBusy wraps why no backup can be made now: the cluster is being changed.
var errBusy = errors.New("the cluster is being changed")

// Run makes a backup, if one is configured, and records the result. It waits while an
// operation is in progress: no backup has a cluster that is being changed.
func Run(ctx context.Context, m Machine) error {
	s, err := m.settings()
	if s == nil && err == nil {
		m.Log.Info("no backups are configured")
		m.removeMetrics()
		return nil
	}
	status := m.status()
	if s != nil {
		status.Interval = m.interval(ctx, *s)
		if err := m.record(status); err != nil { // a reboot removed the metrics
			m.Log.Warn("the result of backups could not be recorded", "error", err.Error())
		}
	}
	var made *backup.Success
	if err == nil {
		made, err = m.whenQuiet(ctx)
	}
	switch {
	case ctx.Err() != nil: // stopped, which says nothing
		return context.Cause(ctx)
	case err != nil:
		text := err.Error()
		status.Failure = &backup.Failure{At: m.now(), Error: text[:min(len(text), recordedError)]}
	case made == nil: // backups were switched off meanwhile
		m.removeMetrics()
		return nil
	default:
		m.Log.Info("the control plane is backed up", "backup", made.Name, "to", made.To, "bytes", made.Size)
		status.Success, status.Failure = made, nil
	}
	return errors.Join(err, m.record(status))
}

func (m Machine) now() time.Time { return m.Now().UTC().Truncate(time.Second) }

// whenQuiet makes a backup as soon as no operation is in progress. It returns nil if
// backups are no longer configured.
func (m Machine) whenQuiet(ctx context.Context) (*backup.Success, error) {
	limit, reported := m.Now().Add(busyLimit), ""
	for {
		s, err := m.settings() // an operation changes them
		if s == nil || err != nil {
			return nil, err
		}
		made, err := m.locked(ctx, *s)
		if !errors.Is(err, errBusy) || ctx.Err() != nil {
			return made, err
		}
		if !m.Now().Before(limit) {
			return nil, fmt.Errorf("no backup could be made within %s: %w", busyLimit, err)
		}
		if text := err.Error(); text != reported {
			m.Log.Info("waiting until a backup can be made", "reason", text)
			reported = text
		}
		if err := poll.Sleep(ctx, busyEvery); err != nil {
			return nil, err
		}
	}
}

// locked makes a backup while it holds the lock of the cluster. A directory that hangs, or
// a bucket that is not reachable, is found before, so that it keeps no operator from the
// lock.
func (m Machine) locked(ctx context.Context, s backup.Scheduled) (made *backup.Success, err error) {
	if err := m.probe(ctx, s); err != nil {
		return nil, err
	}
	holder, err := run.ThisProcess(m.Version, pai.VerbScheduledBackup)
	if err != nil {
		return nil, err
	}
	lock, err := run.Acquire(ctx, run.Local(m.Root), holder, m.Lock)
	if pai.CodeOf(err) == pai.CodeLocked {
		return nil, fmt.Errorf("%w: %w", errBusy, err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release(ctx)) }()
	if command := m.commandOf(lock.Stale()); command != "" {
		return nil, fmt.Errorf("%w: process %s is a command of an operation that lost the lock", errBusy, command)
	}
	limited, cancel := context.WithTimeoutCause(ctx, run.BackupLimit, fmt.Errorf("the backup was not complete within %s", run.BackupLimit))
	defer cancel()
	held, lose := context.WithCancelCause(limited)
	defer lose(nil)
	go func() {
		select {
		case <-lock.Lost():
			lose(lock.Err())
		case <-held.Done():
		}
	}()
	return within(held, func() (*backup.Success, error) { return m.take(held, s) })
}

// within returns the result of do. If do does not end soon after its context, it is
// left behind: the kernel ends no access to a network share that hangs.
func within[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ended := make(chan result, 1)
	go func() {
		value, err := do()
		ended <- result{value, err}
	}()
	select {
	case r := <-ended:
		return r.value, r.err
	case <-ctx.Done():
	}
	stuck := time.NewTimer(stuckLimit)
	defer stuck.Stop()
	select {
	case r := <-ended:
		return r.value, r.err
	case <-stuck.C:
		var none T
		return none, fmt.Errorf("the directory of the backups hangs: %w", context.Cause(ctx))
	}
}
