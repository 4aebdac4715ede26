package main

import (
	"context"
	"log"
	"net"
	"net/netip"
	"time"
)

// connect waits for a usable backend that accepts a connection. It returns nil
// if there is none in time. A connection of another machine uses no third machine, and
// does not wait while no API server of this machine is ready: it goes to another one.
func (p *proxy) connect(source netip.Addr, ofMachine bool) (*backend, net.Conn) {
	deadline := time.NewTimer(p.timings.wait)
	defer deadline.Stop()
	for {
		usable, changed := p.usable(!ofMachine)
		if b, server := p.dialAny(source, usable); server != nil {
			return b, server
		}
		if ofMachine && p.isLocal(notReady) {
			return nil, nil
		}
		select {
		case <-changed:
		case <-time.After(p.timings.downInterval): // a ready backend refused: its next check is soon
		case <-deadline.C:
			log.Printf("no API server was ready within %s", p.timings.wait)
			return nil, nil
		}
	}
}

func (p *proxy) isLocal(r readiness) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.local() == r
}

// dialAny connects to the first of some backends, and to the next one when that fails. Where
// machines are among them, it tries the next one also when a connection takes long, and
// takes the one that comes first: a machine that died a moment ago is unreachable.
func (p *proxy) dialAny(source netip.Addr, backends []*backend) (*backend, net.Conn) {
	type result struct {
		b      *backend
		server net.Conn // nil if it failed
	}
	// The timeout of each connection ends it; the client has no context.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan result, len(backends))
	left := backends
	pending := 0
	start := func() {
		b := left[0]
		left, pending = left[1:], pending+1
		go func() {
			server, err := b.dial(ctx, source)
			if err != nil {
				server = nil
			}
			done <- result{b, server}
		}()
	}
	defer func() {
		go func(pending int) { // those that lost
			for range pending {
				if r := <-done; r.server != nil {
					r.server.Close()
				}
			}
		}(pending)
	}()
	for len(left) > 0 || pending > 0 {
		if pending == 0 {
			start()
		}
		select {
		case r := <-done:
			pending--
			if r.server != nil && r.b.add(r.server) {
				return r.b, r.server
			}
			if r.server != nil {
				r.server.Close() // it was removed meanwhile
			}
		case <-time.After(p.timings.nextDial):
			if len(left) > 0 && left[len(left)-1].isRemote() {
				start()
			}
		}
	}
	return nil, nil
}
