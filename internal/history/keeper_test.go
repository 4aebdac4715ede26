package history

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
)

// A server starts without its database, uses it when it is there, and notices that it
// left.
func TestKeeper(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	changes := make(chan error, 100)
	k := NewKeeper(func(ctx context.Context) (*Store, error) { return OpenSQLite(ctx, dir, 1<<30) }, func(_ context.Context, _ *Store, err error) { changes <- err })
	use := func() error {
		_, err := Use(t.Context(), k, func(ctx context.Context, s *Store) (int, error) { return 0, s.Check(ctx) })
		return err
	}
	if err := use(); !errors.Is(err, ErrAway) {
		t.Errorf("before the start: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { k.Run(ctx, 10*time.Millisecond); close(ended) }()
	if err := <-changes; err == nil {
		t.Error("a directory that does not exist was opened")
	}
	for range 2 { // the second time, it is a new directory
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := <-changes; err != nil {
			t.Errorf("it is back: %v", err)
		}
		if err := use(); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := <-changes; err == nil {
			t.Error("it left, and nothing was said")
		}
		if err := use(); !errors.Is(err, ErrAway) {
			t.Errorf("without it: %v", err)
		}
		if len(changes) > 1 {
			t.Errorf("the same is reported %d times", len(changes))
		}
		for len(changes) > 0 {
			<-changes
		}
	}
	cancel()
	<-ended
}

// A database that is slow or fails is away for this request; what a user did wrong is
// reported to them.
func TestErrorsOfUse(t *testing.T) {
	t.Parallel()
	k := NewKeeper(nil, func(context.Context, *Store, error) {})
	k.set(t.Context(), openIn(t, t.TempDir(), 1<<30), nil)
	forUser := pai.Errorf(pai.CodeInvalid, "", "wrong")
	for _, c := range []struct {
		err  error
		away bool
	}{{errors.New("disk"), true}, {ErrNotFound, false}, {forUser, false}} {
		_, err := Use(t.Context(), k, func(context.Context, *Store) (int, error) { return 0, c.err })
		if errors.Is(err, ErrAway) != c.away || !errors.Is(err, c.err) {
			t.Errorf("%v: got %v", c.err, err)
		}
	}
	limited := false
	_, _ = Use(t.Context(), k, func(ctx context.Context, _ *Store) (int, error) { _, limited = ctx.Deadline(); return 0, nil })
	if !limited {
		t.Error("a request waits for a database without limit")
	}
}

// A disk that hangs cannot be interrupted: requests no longer wait for it after their
// deadline, and the Keeper reports it.
func TestUseIsBounded(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	defer close(hang)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, noAnswer(20*time.Millisecond))
	defer cancel()
	began := time.Now()
	_, err := within(ctx, func() (int, error) { <-hang; return 1, nil })
	if err == nil || !strings.Contains(err.Error(), "no answer within") || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %s", err, time.Since(began))
	}
	changes := make(chan error, 10)
	k := NewKeeper(nil, func(_ context.Context, _ *Store, err error) { changes <- err })
	s := openIn(t, t.TempDir(), 1<<30)
	s.intact = func() error { <-hang; return nil }
	k.set(t.Context(), s, nil)
	<-changes
	began = time.Now()
	for range maxFailures {
		k.check(t.Context())
	}
	select {
	case err := <-changes:
		if err == nil || time.Since(began) > 10*maxFailures*checkTimeout {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	default: // a check reports before it returns
		t.Error("the Keeper did not report a database that hangs")
	}
	if _, err := k.Store(); !errors.Is(err, ErrAway) {
		t.Errorf("a database that hangs is %v", err)
	}
}

// A database whose connections are all in use is not closed: that would end the requests
// that use them. One check that fails does not close it, either; a file that was replaced
// does at once.
func TestBusyDatabaseStaysOpen(t *testing.T) {
	t.Parallel()
	k := NewKeeper(nil, func(context.Context, *Store, error) {})
	s := openIn(t, t.TempDir(), 1<<30)
	k.set(t.Context(), s, nil)
	for range sqliteConnections {
		conn, err := s.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Check(ctx); err != nil {
		t.Errorf("while all connections are in use: %v", err)
	}
	failing := errors.New("slow disk")
	s.intact = func() error { return failing }
	k.check(t.Context())
	if _, err := k.Store(); err != nil {
		t.Fatalf("after one failure: %v", err)
	}
	for n := 1; n < maxFailures; n++ {
		if _, err := k.Store(); err != nil {
			t.Errorf("after %d failures: %v", n, err)
		}
		k.check(t.Context())
	}
	if _, err := k.Store(); !errors.Is(err, failing) {
		t.Errorf("after %d failures: %v", maxFailures, err)
	}
	k.set(t.Context(), openIn(t, t.TempDir(), 1<<30), nil)
	k.store.intact = func() error { return errReplaced }
	k.failures = 0
	k.check(t.Context())
	if _, err := k.Store(); !errors.Is(err, errReplaced) {
		t.Errorf("after the file was replaced: %v", err)
	}
}

// The Keeper waits for a disk that hangs no longer than it says, asks it once, and closes
// what it opens too late.
func TestOpeningIsBounded(t *testing.T) {
	t.Parallel()
	late := openIn(t, t.TempDir(), 1<<30)
	hang, tries := make(chan struct{}), make(chan bool, 10)
	k := NewKeeper(func(context.Context) (*Store, error) { tries <- true; <-hang; return late, nil }, func(context.Context, *Store, error) {})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	for range 3 {
		if s, err := k.tryOpen(ctx); err == nil || s != nil {
			t.Errorf("got %v, %v", s, err)
		}
	}
	close(hang)
	for range 1000 {
		if late.Check(t.Context()) != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := late.Check(t.Context()); err == nil {
		t.Error("what was opened too late stays open")
	}
	if len(tries) != 1 {
		t.Errorf("a disk that hangs was asked %d times", len(tries))
	}
	if s, err := k.tryOpen(t.Context()); err != nil || s != late {
		t.Errorf("after the disk is back: %v, %v", s, err)
	}
}

// What a driver makes of an ended context does not hide that the database is slow.
func TestSlowIsSlow(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancelCause(t.Context())
	end(noAnswer(time.Second))
	driver := errors.New("interrupted (9)")
	for name, c := range map[string]struct {
		ctx       context.Context
		err, want error
	}{
		"in time":            {t.Context(), nil, nil},
		"another error":      {t.Context(), driver, driver},
		"too late":           {ended, driver, ErrSlow},
		"at the last moment": {ended, nil, nil},
	} {
		if got := slowOr(c.ctx, c.err); !errors.Is(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	_, err := limited(t.Context(), time.Millisecond, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, driver
	})
	if !errors.Is(err, ErrSlow) {
		t.Errorf("got %v", err)
	}
}
