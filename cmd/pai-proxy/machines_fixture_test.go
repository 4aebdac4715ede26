package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/test/freeport"
)

// machines are control-plane machines, each with an API server and a proxy, and a worker,
// whose proxy has the address of the fixture.
type machines struct {
	*fixture
	control []*controlMachine
}

type controlMachine struct {
	server *apiServer
	proxy  *proxy
	serve  string // for other machines
	listen string // for programs of the machine
}

// startMachines starts control-plane machines that have the names a, b, and so on.
func startMachines(t *testing.T, n int) *machines {
	t.Helper()
	ms := &machines{fixture: start(t)}
	ms.authority = newAuthority(t)
	for i := range n {
		m := &controlMachine{
			server: startAPIServer(t, ms.authority, apiName, string(rune('a'+i))), proxy: newProxy(testTimings(), nil),
			serve: fmt.Sprintf("127.0.0.%d:%d", 11+i, freeport.Get(t)), listen: fmt.Sprintf("127.0.0.1:%d", freeport.Get(t)),
		}
		t.Cleanup(m.proxy.close)
		ms.control = append(ms.control, m)
	}
	for _, m := range ms.control {
		m.proxy.apply(ms.configOf(m))
	}
	return ms
}

func (ms *machines) roots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(ms.authority.cert)
	return roots
}

// configOf is the configuration of the proxy of a control-plane machine.
func (ms *machines) configOf(m *controlMachine) config {
	c := config{Listen: []string{m.listen}, Serve: []string{m.serve}, ServerName: apiName, roots: ms.roots(),
		Backends: []backendConfig{{Address: m.server.address()}}}
	for _, other := range ms.control {
		if other != m {
			c.Backends = append(c.Backends, backendConfig{Address: other.serve, Remote: true})
		}
	}
	return c
}

// useAll makes the worker use every control-plane machine, and then these addresses.
func (ms *machines) useAll(more ...string) {
	var backends []backendConfig
	for _, m := range ms.control {
		backends = append(backends, backendConfig{Address: m.serve, Remote: true})
	}
	for _, address := range more {
		backends = append(backends, backendConfig{Address: address, Remote: true})
	}
	ms.use(backends...)
}

// at is a fixture whose requests go to another address.
func (ms *machines) at(address string) *fixture {
	f := *ms.fixture
	f.address = address
	return &f
}

// asking sends requests, each on a new connection, until the returned function is called. Each
// has to be answered.
func (f *fixture) asking() (stop func()) {
	f.Helper()
	var asked atomic.Int64
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-ended:
				return
			default:
			}
			if _, err := f.ask(f.client(false)); err != nil {
				f.Errorf("request %d: %v", asked.Load(), err)
			}
			asked.Add(1)
		}
	}()
	return func() {
		f.Helper()
		before := asked.Load()
		f.until("there are more requests", func() bool { return asked.Load() >= before+10 })
		close(ended)
		<-stopped
	}
}

// refuses reports whether an address refuses connections.
func refuses(address string) bool {
	c, err := net.DialTimeout("tcp", address, longTimeout)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// open waits until an address accepts connections.
func (f *fixture) open(address string) {
	f.Helper()
	f.until(address+" accepts connections", func() bool { return !refuses(address) })
}

// closed waits until an address refuses connections.
func (f *fixture) closed(address string) {
	f.Helper()
	f.until(address+" refuses connections", func() bool { return refuses(address) })
}

// keptClient is a client that keeps the connection of its first request, which a server
// answers.
func (f *fixture) keptClient(want string) *http.Client {
	f.Helper()
	c := f.client(true)
	if got, err := f.ask(c); got != want || err != nil {
		f.Fatalf("answered by %q: %v, want %q", got, err, want)
	}
	return c
}

// mortal is a machine that accepts connections until it dies: then its kernel answers no
// new one.
type mortal struct {
	net.Listener
	queued []net.Conn
}

// startMortal listens with a queue of one connection.
func startMortal(t *testing.T, address string) *mortal {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	to := net.ParseIP(address).To4()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte(to)}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	m := &mortal{Listener: listenerOf(t, fd)}
	t.Cleanup(func() {
		m.Close()
		for _, c := range m.queued {
			c.Close()
		}
	})
	return m
}

func listenerOf(t *testing.T, fd int) net.Listener {
	t.Helper()
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// die fills the queue, so that no further connection is answered. Nothing must accept any more.
func (m *mortal) die(t *testing.T) {
	t.Helper()
	for range 16 {
		c, err := net.DialTimeout("tcp", m.Addr().String(), 200*time.Millisecond)
		if isTimeout(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		m.queued = append(m.queued, c)
	}
	t.Fatal("the queue of a listener is never full")
}
