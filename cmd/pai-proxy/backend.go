package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// backend is one API server and the connections that it serves. It is removed
// after `fall` failed checks in a row and added again after `rise` successful
// ones; the first check decides alone. A backend that refuses a connection gets
// no new ones at once, because its process has ended or is about to. Otherwise
// a server that restarts within `fall` checks would get requests before it has
// loaded its access rules, and would forbid what is allowed. Its open
// connections stay: a stopping server still answers on them.
type backend struct {
	address string
	timings timings
	stop    context.CancelFunc

	mu       sync.Mutex
	checked  bool
	ready    bool
	draining bool
	grace    *time.Timer // closes the connections of a draining backend; nil if it does not drain
	streak   int         // checks in a row that disagree with ready
	conns    map[net.Conn]bool
	changed  func() // called when ready or draining might have changed
}

func startBackend(address, serverName string, roots *x509.CertPool, t timings, changed func()) *backend {
	ctx, cancel := context.WithCancel(context.Background())
	b := &backend{address: address, timings: t, stop: cancel, conns: map[net.Conn]bool{}, changed: changed}
	client := &http.Client{
		Timeout: t.checkTimeout,
		// Each check opens a new connection, like a new client.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: serverName}},
	}
	go b.check(ctx, client)
	return b
}

func (b *backend) check(ctx context.Context, client *http.Client) {
	for {
		b.record(checkReady(ctx, client, b.address))
		pause := b.timings.interval
		if !b.usable() {
			pause = b.timings.downInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func checkReady(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz says %s", resp.Status)
	}
	return nil
}

// refused reports whether no process listened.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// record counts one check, or one refused connection.
func (b *backend) record(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ok := err == nil
	if ok == b.ready && b.checked {
		b.streak = 0
		return
	}
	b.streak++
	need := b.timings.fall
	switch {
	case ok:
		need = b.timings.rise
	case refused(err):
		need = 1
	}
	if b.checked && b.streak < need {
		return
	}
	if ok != b.ready {
		log.Printf("%s: ready %v", b.address, ok)
	}
	b.checked, b.ready, b.streak = true, ok, 0
	if !ok && !refused(err) {
		b.closeConns()
	}
	b.changed()
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
