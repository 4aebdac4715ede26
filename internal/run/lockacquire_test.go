package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

func TestAcquireFromLiveProcessFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	otherProcess(t, dir)
	n := &notices{}
	_, err := Acquire(context.Background(), runtest.Dir(dir), me(t), LockOptions{Notify: n.notify})
	if pai.CodeOf(err) != pai.CodeLocked || pai.ExitCode(err) != 4 {
		t.Fatalf("error %v, want CodeLocked", err)
	}
	host, _ := os.Hostname()
	for _, want := range []string{host, "process", "paictl v0.9", "upgrade", "since"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	if n.text() != "" {
		t.Errorf("that a process of this host lives was not seen at once: %s", n.text())
	}
}

// A process of this host that died is seen at once, waited for or not.
func TestAcquireFromDeadProcessTakesOver(t *testing.T) {
	t.Parallel()
	for _, waited := range []bool{true, false} {
		t.Run(fmt.Sprintf("waited for %v", waited), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			otherProcess(t, dir)(waited)
			n := &notices{}
			began := time.Now()
			var l *Lock
			for { // SIGKILL takes a moment
				var err error
				if l, err = Acquire(context.Background(), runtest.Dir(dir), me(t), LockOptions{Notify: n.notify}); err == nil {
					break
				}
				if pai.CodeOf(err) != pai.CodeLocked || time.Since(began) > time.Minute {
					t.Fatal(err)
				}
			}
			if !strings.Contains(n.text(), "is no longer running; taking over") || !strings.Contains(n.text(), "paictl v0.9") {
				t.Errorf("taken over with the notice %q", n.text())
			}
			if err := l.Release(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLivenessOfHolder(t *testing.T) {
	t.Parallel()
	h := me(t)
	h.MachineID = "m"
	for _, c := range []struct {
		name   string
		change func(*Holder)
		want   liveness
	}{
		{"the same process", func(*Holder) {}, alive},
		{"its PID given to another", func(o *Holder) { o.Start = "1" }, dead},
		{"no such process", func(o *Holder) { o.PID = 1 << 30 }, dead},
		{"another PID namespace", func(o *Holder) { o.PIDSpace = "pid:[0]"; o.PID = 1 << 30 }, unknown},
		{"before this host's last boot", func(o *Holder) { o.BootID = "before"; o.Heartbeat = time.Now().Add(-time.Hour) }, dead},
		{"a twin of this host that beats", func(o *Holder) { o.BootID = "twin"; o.Heartbeat = time.Now() }, unknown},
		{"another host", func(o *Holder) { o.BootID, o.MachineID = "other", "n" }, unknown},
		{"another host, neither with an id", func(o *Holder) { o.BootID, o.MachineID = "other", "" }, unknown},
	} {
		other := h
		c.change(&other)
		if got := h.livenessOf(other, 30*time.Second); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestAcquireFromLiveHostFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which a busy host cannot let the lease expire
		store, n := runtest.Dir(t.TempDir()), &notices{}
		l := acquire(t, store, elsewhere("desk-1"), fast(n))
		_, err := Acquire(context.Background(), store, elsewhere("desk-2"), fast(n))
		if pai.CodeOf(err) != pai.CodeLocked || !strings.Contains(err.Error(), "bob@desk-1") {
			t.Errorf("a lock that beats: %v", err)
		}
		if !strings.Contains(n.text(), "heartbeat") {
			t.Errorf("waited in silence: %q", n.text())
		}
		if err := l.Release(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestAcquireOfExpiredLockTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, n := runtest.Dir(t.TempDir()), &notices{}
		dead := elsewhere("desk-1")
		dead.Heartbeat = time.Now().Add(time.Hour) // clocks of two hosts are never compared
		writeHolder(t, store, 1, dead)
		began := time.Now()
		l := acquire(t, store, elsewhere("desk-2"), fast(n))
		if took := time.Since(began); took < 1500*time.Millisecond || took > 1600*time.Millisecond {
			t.Errorf("taken over after %s, want a little more than the expiry of 1.5s", took)
		}
		if text := n.text(); !strings.Contains(text, "heartbeat") || !strings.Contains(text, "taking over") || !strings.Contains(text, "bob@desk-1") {
			t.Errorf("taken over with the notice %q", text)
		}
		if err := l.Release(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestAcquireWithDeadlineReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := runtest.Dir(t.TempDir())
		writeHolder(t, store, 1, elsewhere("desk-1"))
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := Acquire(ctx, store, elsewhere("desk-2"), fast(&notices{})); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAcquireWithFaultyStoreFailsOrRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, broken := context.Background(), errors.New("connection lost")
		store := &faultyStore{Store: runtest.Dir(t.TempDir())}
		store.set("CreateFile", broken)
		if _, err := Acquire(ctx, store, elsewhere("desk-1"), fast(&notices{})); !errors.Is(err, broken) {
			t.Errorf("a store that cannot be written: %v", err)
		}
		store.set("CreateFile", nil)
		store.set("CreateFile after", broken) // the answer is lost, the file is there
		l := acquire(t, store, elsewhere("desk-1"), fast(&notices{}))
		if err := l.Release(ctx); err != nil {
			t.Error(err)
		}

		damaged := runtest.Dir(t.TempDir())
		write(t, damaged, LockFile(3), `{"token":`)
		if _, err := Acquire(ctx, damaged, me(t), fast(&notices{})); err == nil || !strings.Contains(err.Error(), filepath.Base(LockFile(3))) {
			t.Errorf("a damaged lock: %v", err)
		}
	})
}
