package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The programs of a machine use its own API server, and others only while it is not ready.
func TestProxyPrefersItsOwnMachine(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 3)
	a := ms.at(ms.control[0].listen)
	a.eventually("a")
	for range 10 {
		if got, err := a.ask(a.client(false)); got != "a" || err != nil {
			t.Fatalf("answered by %q: %v", got, err)
		}
	}
	stop := a.asking()
	ms.control[0].server.stopping.Store(true)
	ms.closed(ms.control[0].serve)
	seen := map[string]bool{}
	a.until("the other machines answer in turn", func() bool {
		got, err := a.ask(a.client(false))
		seen[got] = err == nil
		return seen["b"] && seen["c"]
	})
	ms.control[0].server.stopping.Store(false)
	a.eventually("a")
	stop()
}

// A graceful stop of an API server: other machines go elsewhere, and no request fails, neither
// a new one nor one that runs.
func TestGracefulStopFailsNoRequest(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 2)
	asked, answer := make(chan bool), make(chan bool)
	a := ms.control[0].server
	serve := a.Config.Handler
	a.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			asked <- true
			<-answer
		}
		serve.ServeHTTP(w, r)
	})
	ms.useAll()
	ms.eventually("a")
	ms.eventually("b")
	got := make(chan string, 1)
	go func() {
		resp, err := ms.at(ms.control[0].serve).client(true).Post("https://"+ms.control[0].serve+"/", "text/plain", nil)
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		got <- fmt.Sprint(string(body), err)
	}()
	<-asked
	stop := ms.asking()
	a.stopping.Store(true) // it still serves
	ms.closed(ms.control[0].serve)
	for range 10 {
		if got, err := ms.ask(ms.client(false)); got != "b" || err != nil {
			t.Errorf("answered by %q after the stop: %v", got, err)
		}
	}
	close(answer)
	if text := <-got; text != "a<nil>" {
		t.Errorf("the request that ran is answered with %q", text)
	}
	a.Listener.Close()
	stop()
}

// The time within which a stopping API server leaves the addresses for other machines.
func TestStoppingServerLeavesWithinASecond(t *testing.T) {
	t.Parallel()
	if fall, cut := redundant.verdict(errStopping, defaultTimings()); fall != 1 || cut {
		t.Errorf("it is removed after %d checks, connections cut %v", fall, cut)
	}
	if defaultTimings().interval > time.Second {
		t.Errorf("checks are %s apart", defaultTimings().interval)
	}
}

// A closed address cuts no connection that it has accepted.
func TestClosedAddressKeepsItsConnections(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 1)
	m := ms.control[0]
	f := ms.at(m.serve)
	ms.open(m.serve)
	f.eventually("a")
	kept := f.keptClient("a")
	m.server.Listener.Close() // it refuses, and serves the connections that it has
	ms.closed(m.serve)
	for range 5 {
		if got, err := f.ask(kept); got != "a" || err != nil {
			t.Fatalf("the connection from before is answered by %q: %v", got, err)
		}
	}
}

// Without a ready API server of any machine, nothing listens for other machines, connections of
// programs wait, and none goes round in a circle.
func TestNoConnectionGoesInACircle(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 3)
	for _, m := range ms.control {
		ms.open(m.serve)
		m.server.ready.Store(false)
	}
	for _, m := range ms.control {
		ms.closed(m.serve)
	}
	ms.useAll()
	ms.listens()
	f := ms.at(ms.control[0].listen)
	answers := make(chan string, 2)
	for _, from := range []*fixture{f, ms.fixture} {
		go func() {
			got, err := from.ask(from.client(false))
			answers <- fmt.Sprint(got, err)
		}()
	}
	select {
	case got := <-answers:
		t.Errorf("answered by %q, and no API server is ready", got)
	case <-time.After(300 * time.Millisecond):
	}
	ms.control[2].server.ready.Store(true)
	for range 2 {
		if got := <-answers; got != "c<nil>" {
			t.Errorf("answered by %q, want the only one that is ready", got)
		}
	}
}

// A connection of another machine never reaches a third one.
func TestConnectionOfAMachineStaysOnThisOne(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 2)
	p := ms.control[0].proxy
	ms.at(ms.control[0].listen).eventually("a")
	ms.until("the other machine is usable", func() bool { all, _ := p.usable(true); return len(all) == 2 })
	if all, _ := p.usable(true); all[0].isRemote() || !all[1].isRemote() {
		t.Error("another machine comes before the API server of this one")
	}
	only, _ := p.usable(false)
	if len(only) != 1 || only[0].isRemote() {
		t.Errorf("a connection of a machine has %d backends, want the API server of this one", len(only))
	}
	ms.control[0].server.ready.Store(false)
	ms.closed(ms.control[0].serve)
	p.timings.wait = 10 * time.Second
	began := time.Now()
	if b, server := p.connect(sourceOf(&net.TCPConn{}), true); server != nil {
		server.Close()
		t.Errorf("it continues to %s", b.address)
	}
	if took := time.Since(began); took > p.timings.wait/2 {
		t.Errorf("it waited for %s, and its machine has others to ask", took)
	}
}

// A machine that dies loses its connections, so that their clients connect to another one, and no
// new connection waits for it.
func TestDeadMachineLosesItsConnections(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 1)
	dead := startMortal(t, "127.0.0.31")
	ms.proxy.timings.remoteTimeout = 300 * time.Millisecond
	accepted := make(chan net.Conn, 1000)
	go func() {
		for {
			c, err := dead.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		for range len(accepted) {
			(<-accepted).Close()
		}
	})
	ms.use(backendConfig{Address: dead.Addr().String(), Remote: true})
	ms.until("the machine is in use", func() bool { return ms.proxy.backends[0].usable() })
	ms.listens()
	c, err := net.Dial("tcp", ms.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(helloBytes); err != nil {
		t.Fatal(err)
	}
	ms.until("the connection is handed on", func() bool { return ms.handedOn() == 1 })
	ms.useAll(dead.Addr().String())
	ms.eventually("a")
	// A listener of Go ends its Accept with the deadline, and stays.
	if err := dead.Listener.(*net.TCPListener).SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	dead.die(t)
	stop := ms.asking()
	ms.until("the connection to the dead machine is closed", func() bool {
		b := ms.proxy.backends[1]
		b.mu.Lock()
		defer b.mu.Unlock()
		return !b.ready && len(b.conns) == 0
	})
	stop()
}

// A machine that has just died is still in use: a connection goes to the next one after
// nextDial, and not after the timeout.
func TestConnectionDoesNotWaitForADeadMachine(t *testing.T) {
	t.Parallel()
	dead := startMortal(t, "127.0.0.32")
	dead.die(t)
	l, err := net.Listen("tcp", "127.0.0.33:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newProxy(testTimings(), nil)
	p.timings.dial = 10 * time.Second
	for _, address := range []string{dead.Addr().String(), l.Addr().String()} {
		p.backends = append(p.backends, &backend{address: address, rules: remote, timings: p.timings, checked: true, ready: true, conns: map[net.Conn]bool{}, changed: func() {}})
	}
	began := time.Now()
	for range 4 { // each begins with another one
		b, server := p.connect(sourceOf(&net.TCPConn{}), false)
		if server == nil || b.address != l.Addr().String() {
			t.Fatalf("connected to %v", b)
		}
		server.Close()
	}
	if took := time.Since(began); took > p.timings.dial/2 {
		t.Errorf("four connections waited for %s", took)
	}
}

// A machine that ends a connection before it has answered has seen nothing but the offer of
// a client: another one gets it.
func TestConnectionIsOfferedToAnotherMachine(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 1)
	l, err := net.Listen("tcp", "127.0.0.34:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan bool, 1000)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if n, _ := io.ReadAtLeast(c, make([]byte, 100), 100); n == 100 { // no check
				ended <- true
			}
			c.Close()
		}
	}()
	ms.useAll(l.Addr().String())
	ms.eventually("a")
	stop := ms.asking()
	for range 3 {
		<-ended
	}
	stop()
}

// The kernel notices a machine that died also on a connection without traffic.
func TestConnectionsToMachinesNoticeTheirDeath(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for r, want := range map[rules]int{remote: int(deadAfter.Milliseconds()), alone: 0, redundant: 0} {
		b := &backend{address: l.Addr().String(), rules: r, timings: testTimings()}
		c, err := b.dial(t.Context(), sourceOf(&net.TCPConn{}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var timeout, idle int
		if err := raw.Control(func(fd uintptr) {
			timeout, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			idle, _ = unix.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
		}); err != nil {
			t.Fatal(err)
		}
		if timeout != want || (r == remote) != (idle == 1) {
			t.Errorf("rules %d: timeout %d ms, want %d; asks after %d s", r, timeout, want, idle)
		}
	}
}

// While every machine is away, connections wait; the first that comes back answers them.
func TestConnectionsWaitForAMachine(t *testing.T) {
	t.Parallel()
	ms := startMachines(t, 2)
	ms.useAll()
	ms.eventually("b")
	for _, m := range ms.control {
		m.server.stopping.Store(true)
	}
	for _, m := range ms.control {
		ms.closed(m.serve)
	}
	answered := make(chan string, 1)
	go func() {
		got, err := ms.ask(ms.client(false))
		answered <- fmt.Sprint(got, err)
	}()
	select {
	case got := <-answered:
		t.Fatalf("answered by %q", got)
	case <-time.After(200 * time.Millisecond):
	}
	ms.control[1].server.stopping.Store(false)
	if got := <-answered; got != "b<nil>" {
		t.Errorf("answered by %q", got)
	}
}

// A loaded API server that answers no check stays in use where others exist.
func TestSlowServerStaysWhereOthersExist(t *testing.T) {
	t.Parallel()
	for _, several := range []bool{true, false} {
		ms := startMachines(t, 1)
		ms.proxy.timings.checkTimeout = 200 * time.Millisecond
		slow := startAPIServer(t, ms.authority, apiName, "slow")
		backends := []backendConfig{{Address: slow.address()}}
		if several {
			backends = append(backends, backendConfig{Address: ms.control[0].serve, Remote: true})
		}
		ms.use(backends...)
		ms.eventually("slow")
		slow.hangs.Store(true)
		if !several {
			ms.outOfUse()
			continue
		}
		time.Sleep(time.Second) // five checks
		if got, err := ms.ask(ms.client(false)); got != "slow" || err != nil {
			t.Errorf("answered by %q: %v", got, err)
		}
	}
}
