package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// startHold holds the address of the fixture until a proxy takes it, and returns the
// path of its socket and the result of hold.
func startHold(f *fixture) (path string, done chan error) {
	f.Helper()
	path = filepath.Join(f.TempDir(), "listeners.sock")
	ready, done := make(chan struct{}), make(chan error, 1)
	ctx, cancel := context.WithTimeout(f.Context(), longTimeout)
	f.Cleanup(cancel)
	go func() { done <- hold(ctx, []string{f.address}, path, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		f.Fatal(err)
	}
	return path, done
}

// From the moment in which the address is held, no connection is refused: not while
// no proxy runs, and not while the next one starts. The connections are answered.
func TestReplacedProxyRefusesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	server := startAPIServer(t, f.authority, apiName, "server")
	f.use(backendConfig{Address: server.address()})
	f.eventually("server")
	path, done := startHold(f)
	f.proxy.close()

	held := func() bool {
		c, err := net.Dial("tcp", f.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	for deadline := time.Now().Add(longTimeout); !held(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the address that became free is not held")
		}
	}
	var asked, answered atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			asked.Add(1)
			if got, err := f.ask(f.client(false)); err != nil || got != "server" {
				t.Errorf("answered by %q: %v", got, err)
			} else {
				answered.Add(1)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	time.Sleep(100 * time.Millisecond) // no proxy runs
	if answered.Load() > 0 {
		t.Error("a request was answered before the next proxy started")
	}
	listeners, err := take(t.Context(), path)
	if err != nil || len(listeners) != 1 {
		t.Fatalf("took %d listeners: %v", len(listeners), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.proxy = newProxy(testTimings(), listeners)
	t.Cleanup(f.proxy.close)
	f.use(backendConfig{Address: server.address()})
	f.eventually("server")
	close(stop)
	<-stopped
	if asked.Load() == 0 || asked.Load() != answered.Load() {
		t.Errorf("%d of %d requests were answered", answered.Load(), asked.Load())
	}
}

// A listener for an address that the configuration no longer has is closed.
func TestListenerOfNoAddressIsClosed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.proxy = newProxy(testTimings(), map[string]net.Listener{other.Addr().String(): other})
	t.Cleanup(f.proxy.close)
	f.use()
	if _, err := net.Dial("tcp", other.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the address still answers: %v", err)
	}
}

func TestNothingIsHeld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := filepath.Join(dir, "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{filepath.Join(dir, "none"), left} {
		if got, err := take(t.Context(), path); len(got) != 0 || err != nil {
			t.Errorf("%s: took %v: %v", path, got, err)
		}
	}
}

// What is not a list of addresses with as many listeners is refused, and the
// listeners that came with it are closed.
func TestReceiveRefusesOtherMessages(t *testing.T) {
	t.Parallel()
	for name, message := range map[string]string{
		"no JSON": "listeners", "fewer addresses": "[]", "more addresses": `["127.0.0.1:1","127.0.0.1:2"]`,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		from, to := socketPair(t)
		if _, _, err := to.WriteMsgUnix([]byte(message), syscall.UnixRights(int(file.Fd())), nil); err != nil {
			t.Fatal(err)
		}
		file.Close()
		if got, err := receive(from); err == nil {
			t.Errorf("%s: received %v", name, got)
		}
		l.Close()
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			c.Close()
			t.Errorf("%s: the listener is still open", name)
		}
	}
}

func socketPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) *net.UnixConn {
		file := os.NewFile(uintptr(fd), "socket")
		defer file.Close()
		c, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.UnixConn)
	}
	return conn(fds[0]), conn(fds[1])
}

// An address that the process before still uses is held as soon as it is free.
func TestAddressIsHeldOnceItIsFree(t *testing.T) {
	t.Parallel()
	before, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		l   *net.TCPListener
		err error
	}
	done := make(chan result, 1)
	go func() {
		l, err := listenWhenFree(t.Context(), before.Addr().String())
		done <- result{l, err}
	}()
	select {
	case got := <-done:
		t.Fatalf("did not wait for the address: %v", got.err)
	case <-time.After(100 * bindInterval):
	}
	before.Close()
	select {
	case got := <-done:
		if got.err != nil {
			t.Fatal(got.err)
		}
		got.l.Close()
	case <-time.After(longTimeout):
		t.Error("the address that became free is not held")
	}
}

// An address that stays in use is not waited for longer than the holder may live.
func TestHoldEnds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = hold(ctx, []string{l.Addr().String()}, filepath.Join(t.TempDir(), "listeners.sock"), func() {})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hold returned %v", err)
	}
}
