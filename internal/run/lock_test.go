package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

func TestReleaseFreesLock(t *testing.T) {
	t.Parallel()
	store := runtest.Dir(t.TempDir())
	for range 3 { // and taken again
		n := &notices{}
		l := acquire(t, store, me(t), LockOptions{Notify: n.notify})
		if _, holder, err := Current(context.Background(), store); err != nil || holder == nil || holder.PID != os.Getpid() {
			t.Fatalf("holder %v, error %v", holder, err)
		}
		interrupted, cancel := context.WithCancel(context.Background())
		cancel()
		if err := l.Release(interrupted); err != nil {
			t.Fatal(err)
		}
		if _, holder, err := Current(context.Background(), store); err != nil || holder != nil {
			t.Fatalf("after the release held by %v, error %v", holder, err)
		}
		if n.text() != "" {
			t.Errorf("a free lock was taken with the notice %q", n.text())
		}
	}
	files, err := store.ReadDir(context.Background(), "/var/lib/pai/lock")
	if err != nil || len(files) != 1 {
		t.Errorf("files that stay: %v, error %v", files, err)
	}
}

// full is a store whose disk is full: what is there can be read.
type full struct{ runtest.Dir }

func (full) WriteFile(context.Context, string, []byte, fs.FileMode) error { return syscall.ENOSPC }

// A lock that cannot be released keeps its holder, and the error says this.
func TestReleaseOnFullDiskFails(t *testing.T) {
	t.Parallel()
	store := runtest.Dir(t.TempDir())
	l := acquire(t, store, me(t), LockOptions{})
	l.store = full{store}
	if err := l.Release(context.Background()); !errors.Is(err, ErrNotReleased) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the release on a full disk: %v", err)
	}
	if _, holder, err := Current(context.Background(), store); err != nil || holder == nil {
		t.Errorf("holder %v, error %v", holder, err)
	}
}

// A lock of another process, or one that cannot be renewed, ends the operation.
func TestLockLostReportsHolder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		happens  func(t *testing.T, s *faultyStore)
		contains string
	}{
		{"taken by another", func(t *testing.T, s *faultyStore) { writeHolder(t, s, 2, elsewhere("desk-2")) }, "bob@desk-2"},
		{"overwritten", func(t *testing.T, s *faultyStore) { writeHolder(t, s, 1, elsewhere("desk-3")) }, "bob@desk-3"},
		{"removed", func(t *testing.T, s *faultyStore) {
			if err := s.Remove(context.Background(), LockFile(1)); err != nil {
				t.Fatal(err)
			}
		}, "no process"},
		{"disk full", func(_ *testing.T, s *faultyStore) { s.set("WriteFile", errors.New("no space")) }, "could not be renewed"},
		{"machine unreachable", func(_ *testing.T, s *faultyStore) { s.set("ReadDir", errors.New("no route")) }, "could not be renewed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			// In a bubble of synctest a busy host cannot let the lease expire.
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{Store: runtest.Dir(dir)}
				l := acquire(t, store, elsewhere("desk-1"), fast(&notices{}))
				time.Sleep(600 * time.Millisecond)
				if err := l.Err(); err != nil {
					t.Fatalf("lost without a reason: %v", err)
				}
				// Again and again: a heartbeat that had looked before it happened
				// writes the file once more.
				deadline := time.After(20 * time.Second)
				for lost := false; !lost; {
					c.happens(t, store)
					select {
					case <-l.Lost():
						lost = true
					case <-time.After(time.Second):
					case <-deadline:
						t.Fatal("the loss was not noticed")
					}
				}
				if err := l.Err(); !errors.Is(err, ErrLost) || pai.CodeOf(err) != pai.CodeLocked || !strings.Contains(err.Error(), c.contains) {
					t.Errorf("error %v does not name %q", err, c.contains)
				}
				if err := l.Release(context.Background()); !errors.Is(err, ErrLost) {
					t.Errorf("the release of a lost lock: %v", err)
				}
			})
		})
	}
}

// A process that was suspended learns from Err that its time has passed, before
// any heartbeat.
func TestLockAfterSuspensionIsLost(t *testing.T) {
	t.Parallel()
	l := acquire(t, runtest.Dir(t.TempDir()), elsewhere("desk-1"), LockOptions{})
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.renewed = l.renewed.Add(-26 * time.Second)
	l.mu.Unlock()
	if err := l.Err(); !errors.Is(err, ErrLost) {
		t.Errorf("26 s without a heartbeat: %v", err)
	}
	l.stop()
}

// However many want the lock, and however they come by it, one at a time has it.
func TestLockUnderContentionHasOneHolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which a busy host cannot let a lease expire
		store := runtest.Dir(t.TempDir())
		var holders, times atomic.Int32
		var all sync.WaitGroup
		deadline := time.Now().Add(10 * time.Second)
		for i := range 6 {
			all.Go(func() {
				for turn := 0; time.Now().Before(deadline); turn++ {
					h := elsewhere(fmt.Sprintf("desk-%d-%d", i, turn))
					l, err := Acquire(context.Background(), store, h, fast(&notices{}))
					if pai.CodeOf(err) == pai.CodeLocked && err != nil {
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					if n := holders.Add(1); n != 1 {
						t.Errorf("%d hold the lock", n)
					}
					times.Add(1)
					time.Sleep(time.Duration(i+1) * time.Millisecond)
					holders.Add(-1)
					if turn%3 == 2 { // dies: others have to see it expire
						l.stop()
						<-l.done
					} else if err := l.Release(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if times.Load() < 5 {
			t.Errorf("the lock was held only %d times: that proves nothing", times.Load())
		}
		t.Logf("held %d times", times.Load())
	})
}
