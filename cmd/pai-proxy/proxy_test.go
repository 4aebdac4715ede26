package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestTakeOverWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	old := startAPIServer(t, f.authority, apiName, "old")
	next := startAPIServer(t, f.authority, apiName, "new")
	next.ready.Store(false)
	f.use(backendConfig{Address: old.address()}, backendConfig{Address: next.address()})
	f.eventually("old")

	var asked, failed atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			asked.Add(1)
			if _, err := f.ask(f.client(false)); err != nil {
				failed.Add(1)
				t.Error(err)
			}
		}
	}()
	askedMore := func() {
		t.Helper()
		before := asked.Load()
		f.until("there are more requests", func() bool { return asked.Load() >= before+3 })
	}
	next.ready.Store(true)
	askedMore()
	f.use(backendConfig{Address: old.address(), Draining: true}, backendConfig{Address: next.address()})
	f.eventually("new")
	askedMore() // those that the old server has are answered
	old.Close()
	askedMore()
	close(stop)
	<-stopped
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}

func TestNotReadyGetsNoConnections(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	b := startAPIServer(t, f.authority, apiName, "b")
	b.ready.Store(false)
	f.use(backendConfig{Address: a.address()}, backendConfig{Address: b.address()})
	f.eventually("a")
	for range 20 {
		if got, err := f.ask(f.client(false)); got != "a" || err != nil {
			t.Fatalf("answered by %q: %v", got, err)
		}
	}
	a.ready.Store(false)
	b.ready.Store(true)
	f.eventually("b")
}

// A server that was killed and comes back between two checks forbids what is
// allowed until it is ready: it gets no connection before.
func TestRestartedServerIsNotReadyAtOnce(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	f.proxy.timings.interval = 700 * time.Millisecond // the connection is faster than the check
	a := startAPIServer(t, f.authority, apiName, "a")
	f.use(backendConfig{Address: a.address()})
	f.eventually("a")
	address := a.address()
	a.Close()
	answered := make(chan string, 1)
	go func() {
		got, err := f.ask(f.client(false)) // no process listens now
		answered <- fmt.Sprint(got, err)
	}()
	f.outOfUse()
	again := &apiServer{}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	serveAPI(t, f.authority, again, l, apiName, "again")
	select {
	case got := <-answered:
		t.Fatalf("answered %q by a server that is not ready", got)
	case <-time.After(600 * time.Millisecond):
	}
	again.ready.Store(true)
	if got := <-answered; got != "again<nil>" {
		t.Errorf("answered %q", got)
	}
}

// A server that was asked to stop refuses new connections and answers on those
// that it has.
func TestStoppingServerAnswersWhatItWasAsked(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	asked, answer := make(chan bool), make(chan bool)
	old := startAPIServer(t, f.authority, apiName, "old")
	serve := old.Config.Handler
	old.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			asked <- true
			<-answer
		}
		serve.ServeHTTP(w, r)
	})
	f.use(backendConfig{Address: old.address()})
	f.eventually("old")
	got := make(chan string, 1)
	go func() {
		resp, err := f.client(true).Post("https://"+f.address+"/", "text/plain", nil)
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		got <- fmt.Sprint(string(body), err)
	}()
	<-asked
	old.Listener.Close() // as a server does first that was asked to stop
	f.outOfUse()
	for range f.proxy.timings.fall { // and its checks still fail
		f.proxy.backends[0].record(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
	}
	close(answer)
	if text := <-got; text != "old<nil>" {
		t.Errorf("what was asked before is answered with %q", text)
	}
}

func TestConnectionsWaitForAServer(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	a.ready.Store(false)
	f.use(backendConfig{Address: a.address()})
	f.listens()
	time.AfterFunc(300*time.Millisecond, func() { a.ready.Store(true) })
	got, err := f.ask(f.client(false))
	if !a.ready.Load() {
		t.Error("it was answered by a server that was not ready")
	}
	if got != "a" || err != nil {
		t.Fatalf("answered by %q: %v", got, err)
	}
}

func TestConnectionIsClosedWhenNoServerComes(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	f.proxy.timings.wait = 100 * time.Millisecond
	f.use(backendConfig{Address: "127.0.0.1:1"})
	f.listens()
	c, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(helloBytes); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(longTimeout))
	if _, err := bufio.NewReader(c).ReadByte(); err != io.EOF {
		t.Errorf("read ended with %v, want EOF", err)
	}
}

func TestServerOfAnotherAuthorityOrNameIsNotUsed(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	foreign := startAPIServer(t, newAuthority(t), apiName, "foreign")
	misnamed := startAPIServer(t, f.authority, "other.internal", "misnamed")
	own := startAPIServer(t, f.authority, apiName, "own")
	f.use(backendConfig{Address: foreign.address()}, backendConfig{Address: misnamed.address()}, backendConfig{Address: own.address()})
	f.eventually("own")
	for _, b := range f.proxy.backends {
		if b.usable() != (b.address == own.address()) {
			t.Errorf("%s: usable %v", b.address, b.usable())
		}
	}
}

func TestDrainingKeepsOpenConnectionsForAWhile(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	f.proxy.timings.grace = time.Hour // the test ends it
	old := startAPIServer(t, f.authority, apiName, "old")
	next := startAPIServer(t, f.authority, apiName, "new")
	f.use(backendConfig{Address: old.address()})
	f.eventually("old")
	kept := f.client(true)
	if got, err := f.ask(kept); got != "old" || err != nil {
		t.Fatalf("answered by %q: %v", got, err)
	}
	f.use(backendConfig{Address: old.address(), Draining: true}, backendConfig{Address: next.address()})
	f.eventually("new")
	if got, _ := f.ask(kept); got != "old" {
		t.Errorf("the kept connection moved to %q at once", got)
	}
	b := f.proxy.backends[0]
	b.mu.Lock()
	b.grace.Reset(0)
	b.mu.Unlock()
	f.until("after the grace period the kept client is answered by the new server", func() bool {
		got, err := f.ask(kept)
		return got == "new" && err == nil
	})
}

func TestDownClosesSessions(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	f.use(backendConfig{Address: a.address()})
	f.eventually("a")
	f.until("the connections of the requests are closed", func() bool { return f.handedOn() == 0 })
	c, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(helloBytes); err != nil {
		t.Fatal(err)
	}
	f.until("the connection is handed on", func() bool { return f.handedOn() == 1 })
	a.ready.Store(false)
	c.SetReadDeadline(time.Now().Add(longTimeout))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the session to a server that is down stayed open: %v", err)
	}
}

func TestConfigIsReloaded(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	a := startAPIServer(t, f.authority, apiName, "a")
	b := startAPIServer(t, f.authority, apiName, "b")
	dir := t.TempDir()
	file, ca := filepath.Join(dir, "api-proxy.json"), filepath.Join(dir, "ca.crt")
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	configure := func(address string) {
		t.Helper()
		data, err := json.Marshal(config{Listen: []string{f.address}, CA: ca, ServerName: apiName, Backends: []backendConfig{{Address: address}}})
		if err != nil {
			t.Fatal(err)
		}
		write(file, data)
	}
	hangup := make(chan os.Signal, 1)
	go watchConfig(t.Context(), file, hangup, f.proxy.apply) // neither file is there yet
	configure(a.address())
	write(ca, f.authority.pem)
	f.eventually("a")
	write(file, []byte("{"))
	hangup <- os.Interrupt
	f.eventually("a") // the last good one stays in force
	configure(b.address())
	f.eventually("b")
}
