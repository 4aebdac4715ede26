package run

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
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

func writeHolder(t *testing.T, s Store, number int, h Holder) {
	t.Helper()
	data, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s, LockFile(number), string(data))
}
