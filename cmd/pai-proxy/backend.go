package main

import (
	"context"
	"crypto/x509"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// backend is one API server, or the proxy of a machine that has some, and the connections
// that it serves. Its rules say after which failed checks it is removed; it is added again
// after `rise` successful ones, and the first check decides alone. A backend that refuses a
// connection gets no new ones at once, because its process has ended or is about to.
// Otherwise a server that restarts within `fall` checks would get requests before it has
// loaded its access rules, and would forbid what is allowed. Its open
// connections stay: a stopping server still answers on them.
type backend struct {
	address string
	timings timings
	stop    context.CancelFunc

	mu       sync.Mutex
	rules    rules
	checked  bool
	ready    bool
	draining bool
	grace    *time.Timer // closes the connections of a draining backend; nil if it does not drain
	streak   int         // checks in a row that disagree with ready
	conns    map[net.Conn]bool
	changed  func() // called when ready or draining might have changed
}

func startBackend(address string, r rules, serverName string, roots *x509.CertPool, t timings, changed func()) *backend {
	ctx, cancel := context.WithCancel(context.Background())
	b := &backend{address: address, rules: r, timings: t, stop: cancel, conns: map[net.Conn]bool{}, changed: changed}
	go b.check(ctx, newCheckClient(serverName, roots, t))
	return b
}

func (b *backend) check(ctx context.Context, client *http.Client) {
	for {
		began := time.Now()
		b.record(b.checkOnce(ctx, client))
		select {
		case <-ctx.Done():
			return
		case <-time.After(b.pause(time.Since(began))):
		}
	}
}

func (b *backend) checkOnce(ctx context.Context, client *http.Client) error {
	if b.isRemote() {
		return checkAccepts(ctx, b.address, b.timings.remoteTimeout)
	}
	return checkReady(ctx, client, b.address)
}

// pause is the time until the next check, after one that took some. Checks of other machines
// begin every interval, so that it takes no longer to notice one that is dead.
func (b *backend) pause(took time.Duration) time.Duration {
	switch {
	case b.isRemote():
		return max(0, b.timings.interval-took)
	case b.usable():
		return b.timings.interval
	default:
		return b.timings.downInterval
	}
}

// record counts one check, or one refused connection.
func (b *backend) record(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ok := err == nil
	if ok == b.ready && b.checked {
		b.streak = 0
		return
	}
	need, cut := b.rules.rise(b.timings), false
	if !ok {
		need, cut = b.rules.verdict(err, b.timings)
	}
	if b.checked {
		if !ok && need == stay {
			return
		}
		if b.streak++; b.streak < need {
			return
		}
	}
	if ok != b.ready {
		log.Printf("%s: ready %v", b.address, ok)
	}
	b.checked, b.ready, b.streak = true, ok, 0
	if cut {
		b.closeConns()
	}
	b.changed()
}

// setRules changes the rules for the next checks. The connections stay.
func (b *backend) setRules(r rules) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rules = r
}

// setDraining starts or ends draining. Connections that are still open at the
// end of the grace period are closed.
func (b *backend) setDraining(draining bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draining == draining {
		return
	}
	log.Printf("%s: draining %v", b.address, draining)
	b.draining = draining
	b.changed()
	if !draining {
		b.grace.Stop()
		b.grace = nil
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(b.timings.grace, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.grace == timer { // Stop does not wait for a function that has started
			b.closeConns()
		}
	})
	b.grace = timer
}

func (b *backend) usable() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready && !b.draining
}

// unknown reports whether no check has ended yet.
func (b *backend) unknown() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.checked
}

func (b *backend) isRemote() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules == remote
}

// dial opens a connection for a client.
func (b *backend) dial(ctx context.Context, source netip.Addr) (net.Conn, error) {
	dialer := net.Dialer{Timeout: b.timings.dial}
	if from := localFor(source, b.address); from != nil {
		dialer.LocalAddr = from
	}
	if b.isRemote() {
		noticeDeath(&dialer)
	}
	c, err := dialer.DialContext(ctx, "tcp", b.address)
	if err != nil && refused(err) {
		b.record(err)
	}
	return c, err
}

// deadAfter is how long the kernel waits for an acknowledgment of another machine, which it
// asks for every second also while nothing is sent. The checks notice a dead machine earlier,
// unless it refused connections before it died.
const deadAfter = 5 * time.Second

// noticeDeath makes the kernel end a connection to a machine that has died.
func noticeDeath(d *net.Dialer) {
	d.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: int(deadAfter / time.Second)}
	d.Control = func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
		})
		if err != nil {
			return err
		}
		return set
	}
}

// add registers a connection. It returns false if the backend accepts none.
func (b *backend) add(c net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ready || b.draining {
		return false
	}
	b.conns[c] = true
	return true
}

func (b *backend) remove(c net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}

// closeConns needs b.mu held.
func (b *backend) closeConns() {
	for c := range b.conns {
		c.Close()
	}
}

func (b *backend) close() {
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = false
	b.closeConns()
}
