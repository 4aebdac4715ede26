package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/runtest"
)

// The test program is started a second time as another process that holds the
// lock.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PAI_TEST_HOLD_LOCK"); dir != "" {
		holdForever(dir)
		return
	}
	os.Exit(m.Run())
}

func holdForever(dir string) {
	h, err := ThisProcess("v0.9", pai.VerbUpgrade)
	if err == nil {
		_, err = Acquire(context.Background(), runtest.Dir(dir), h, LockOptions{})
	}
	fmt.Println("held:", err)
	select {}
}

// otherProcess starts a process that holds the lock; kill ends it by SIGKILL.
func otherProcess(t *testing.T, dir string) (kill func(wait bool)) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "PAI_TEST_HOLD_LOCK="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held: <nil>\n" {
		t.Fatalf("the other process says %q, error %v", line, err)
	}
	var once sync.Once
	t.Cleanup(func() { c.Process.Kill(); once.Do(func() { c.Wait() }) })
	return func(wait bool) {
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if wait {
			once.Do(func() { c.Wait() })
		}
	}
}

// me is this process as a holder.
func me(t *testing.T) Holder {
	t.Helper()
	h, err := ThisProcess("v0.10", pai.VerbUpgrade)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// elsewhere is a holder on another host, known by its heartbeats only.
func elsewhere(name string) Holder {
	return Holder{Token: name, User: "bob", Host: name, BootID: "boot of " + name, PIDSpace: "pid:[1]", PID: 7, Start: "1", Version: "v0.9", Verb: pai.VerbStartServices}
}

// notices collects the messages to the operator.
type notices struct {
	mu    sync.Mutex
	lines []string
}

func (n *notices) notify(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notices) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// fast are the lock's times for tests; the ratio is that of the defaults.
func fast(n *notices) LockOptions {
	return LockOptions{Notify: n.notify, Heartbeat: 250 * time.Millisecond, LeaseDuration: 1500 * time.Millisecond}
}

func acquire(t *testing.T, s Store, h Holder, o LockOptions) *Lock {
	t.Helper()
	l, err := Acquire(context.Background(), s, h, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

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

func TestAcquireFromLiveProcessFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	otherProcess(t, dir)
	began := time.Now()
	_, err := Acquire(context.Background(), runtest.Dir(dir), me(t), LockOptions{})
	if pai.CodeOf(err) != pai.CodeLocked || pai.ExitCode(err) != 4 {
		t.Fatalf("error %v, want CodeLocked", err)
	}
	host, _ := os.Hostname()
	for _, want := range []string{host, "process", "paictl v0.9", "upgrade", "since"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("that a process of this host lives was seen after %s", took)
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
				if pai.CodeOf(err) != pai.CodeLocked || time.Since(began) > 5*time.Second {
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
}

func TestAcquireOfExpiredLockTakesOver(t *testing.T) {
	t.Parallel()
	store, n := runtest.Dir(t.TempDir()), &notices{}
	dead := elsewhere("desk-1")
	dead.Heartbeat = time.Now().Add(time.Hour) // clocks of two hosts are never compared
	writeHolder(t, store, 1, dead)
	began := time.Now()
	l := acquire(t, store, elsewhere("desk-2"), fast(n))
	if took := time.Since(began); took < 1500*time.Millisecond || took > 10*time.Second {
		t.Errorf("taken over after %s, want a little more than the expiry of 1.5s", took)
	}
	if text := n.text(); !strings.Contains(text, "heartbeat") || !strings.Contains(text, "taking over") || !strings.Contains(text, "bob@desk-1") {
		t.Errorf("taken over with the notice %q", text)
	}
	if err := l.Release(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestAcquireWithDeadlineReturns(t *testing.T) {
	t.Parallel()
	store := runtest.Dir(t.TempDir())
	writeHolder(t, store, 1, elsewhere("desk-1"))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := Acquire(ctx, store, elsewhere("desk-2"), fast(&notices{})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
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
			store := &faultyStore{Store: runtest.Dir(t.TempDir())}
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
			if err := l.Err(); !errors.Is(err, errLost) || pai.CodeOf(err) != pai.CodeLocked || !strings.Contains(err.Error(), c.contains) {
				t.Errorf("error %v does not name %q", err, c.contains)
			}
			if err := l.Release(context.Background()); !errors.Is(err, errLost) {
				t.Errorf("the release of a lost lock: %v", err)
			}
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
	if err := l.Err(); !errors.Is(err, errLost) {
		t.Errorf("26 s without a heartbeat: %v", err)
	}
	l.stop()
}

func TestAcquireWithFaultyStoreFailsOrRecovers(t *testing.T) {
	t.Parallel()
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
}

// However many want the lock, and however they come by it, one at a time has it.
func TestLockUnderContentionHasOneHolder(t *testing.T) {
	t.Parallel()
	store := runtest.Dir(t.TempDir())
	var holders, times atomic.Int32
	var all sync.WaitGroup
	deadline := time.Now().Add(5 * time.Second)
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
				time.Sleep(time.Duration(i) * time.Millisecond)
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
}

func writeHolder(t *testing.T, s Store, number int, h Holder) {
	t.Helper()
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, LockFile(number), string(data))
}
