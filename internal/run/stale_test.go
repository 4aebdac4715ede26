package run

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

// The lock names the holders that did not release it until their commands were ended,
// over every later holder, whether that released the lock or not.
func TestLockNamesHoldersWhoseCommandsMightRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which a busy host cannot let a lease expire
		store, n := runtest.Dir(t.TempDir()), &notices{}
		first, second := elsewhere("desk-1"), elsewhere("desk-2")
		second.Stale = []string{first.Token}
		writeHolder(t, store, 1, second)

		next := func(host string, want ...string) *Lock {
			t.Helper()
			l := acquire(t, store, elsewhere(host), fast(n))
			if got := l.Stale(); !slices.Equal(got, want) || slices.Contains(got, l.Token()) {
				t.Errorf("%s: got %v, want %v", host, got, want)
			}
			return l
		}
		release := func(l *Lock) {
			t.Helper()
			if err := l.Release(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		release(next("desk-3", first.Token, second.Token)) // it could not end them
		l := next("desk-4", first.Token, second.Token)
		l.StaleEnded([]string{second.Token})
		release(l)
		l = next("desk-5", first.Token)
		l.StaleEnded([]string{first.Token})
		release(l)
		release(next("desk-6"))
	})
}

// A holder that releases the lock while another process waits leaves no command behind.
func TestReleaseOfAWaitedForLockLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, n := runtest.Dir(t.TempDir()), &notices{}
		held := elsewhere("desk-1")
		writeHolder(t, store, 1, held)
		o := fast(n)
		o.Notify = func(string, ...any) { // it waits
			held.Released = true
			writeHolder(t, store, 1, held)
		}
		l := acquire(t, store, elsewhere("desk-2"), o)
		if got := l.Stale(); len(got) != 0 {
			t.Errorf("got %v, want nothing that might still run", got)
		}
		if err := l.Release(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestNamedHoldersAreBounded(t *testing.T) {
	t.Parallel()
	store, n := runtest.Dir(t.TempDir()), &notices{}
	last := elsewhere("desk-1")
	for i := range 150 {
		last.Stale = append(last.Stale, fmt.Sprint("token-", i))
	}
	writeHolder(t, store, 1, last)
	l := acquire(t, store, elsewhere("desk-2"), fast(n))
	if got := l.Stale(); len(got) != 100 || got[99] != last.Token || got[0] != "token-51" {
		t.Errorf("got %d tokens from %q to %q, want the newest 100", len(got), got[0], got[len(got)-1])
	}
	if err := l.Release(context.Background()); err != nil {
		t.Error(err)
	}
}

// A scheduled backup that was killed ran no command with its token, so the next operation
// has none to end on machines that it cannot reach.
func TestKilledScheduledBackupLeavesNothingToEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, n := runtest.Dir(t.TempDir()), &notices{}
		operator, machine := elsewhere("desk-1"), elsewhere("pai-1")
		machine.Verb, machine.Stale = pai.VerbScheduledBackup, []string{operator.Token}
		writeHolder(t, store, 1, machine)
		l := acquire(t, store, elsewhere("desk-2"), fast(n))
		if got := l.Stale(); !slices.Equal(got, []string{operator.Token}) {
			t.Errorf("got %v, want only the operator that the backup followed, %s", got, operator.Token)
		}
		if err := l.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// A command whose connection was lost might still run when its holder releases the lock.
func TestReleasedLockNamesACommandThatMightRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, n := runtest.Dir(t.TempDir()), &notices{}
		release := func(l *Lock) {
			t.Helper()
			if err := l.Release(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		first := acquire(t, store, elsewhere("desk-1"), fast(n))
		first.Unended()
		first.Unended()
		if got := first.Stale(); len(got) != 0 {
			t.Errorf("got %v while it holds the lock, want not its own commands", got)
		}
		release(first)
		second := acquire(t, store, elsewhere("desk-2"), fast(n))
		if got := second.Stale(); !slices.Equal(got, []string{first.Token()}) {
			t.Errorf("got %v, want the token of the command that might run, %s", got, first.Token())
		}
		second.StaleEnded(second.Stale())
		release(second)
		third := acquire(t, store, elsewhere("desk-3"), fast(n))
		if got := third.Stale(); len(got) != 0 {
			t.Errorf("got %v after it was ended", got)
		}
		release(third)
	})
}
