package filelock_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pai.dev/pai/internal/filelock"
)

// One holder at a time, also while the directory is removed and re-created.
func TestLockHasOneHolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "local")
	var inside, waited atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			unlock, err := filelock.Lock(t.Context(), filepath.Join(dir, "lock"), func() { waited.Add(1) })
			if err != nil {
				t.Error(err)
				return
			}
			if inside.Add(1) != 1 {
				t.Error("got two holders, want one")
			}
			time.Sleep(5 * time.Millisecond)
			if i%3 == 0 {
				os.RemoveAll(dir)
			}
			inside.Add(-1)
			unlock()
		})
	}
	wg.Wait()
	if waited.Load() == 0 {
		t.Error("got no call of waiting, want one")
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := filelock.Lock(t.Context(), path, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if _, err := filelock.Lock(ctx, path, func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v for a held lock, want the deadline", err)
	}
}

// A command that another goroutine starts has a copy of the file for a moment.
func TestUnlockIsNotDelayedByCopies(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	for range 50 {
		unlock, err := filelock.Lock(t.Context(), path, func() { t.Error("got a wait for a lock that is free") })
		if err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), "true")
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		unlock()
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestLockFailsWithoutDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.Lock(t.Context(), filepath.Join(file, "lock"), func() {}); err == nil {
		t.Error("got a lock below a file, want an error")
	}
}
