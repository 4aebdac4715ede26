package history

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	k := NewKeeper(func(ctx context.Context) (*Store, error) { return OpenSQLite(ctx, dir, 1<<30) }, func(_ *Store, err error) { changes <- err })
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
			t.Errorf("the same is said %d times", len(changes))
		}
		for len(changes) > 0 {
			<-changes
		}
	}
	cancel()
	<-ended
}

// A database that is slow or fails is away for this request; what a user did wrong is
// told to them.
func TestErrorsOfUse(t *testing.T) {
	t.Parallel()
	k := NewKeeper(nil, func(*Store, error) {})
	k.set(openIn(t, t.TempDir(), 1<<30), nil)
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
