package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"
)

type timings struct {
	interval, downInterval time.Duration // between checks of a backend that is in use, and that is not
	checkTimeout           time.Duration
	rise, fall             int
	wait                   time.Duration // how long a connection waits for a backend
	grace                  time.Duration // how long a draining backend keeps its connections
	dial                   time.Duration
	hello                  time.Duration // how long a client has to begin with TLS
}

// defaultTimings leave no gap during a handover between API servers, as
// measured. A shorter timeout, or removal after one failed check, removes
// healthy servers under load.
func defaultTimings() timings {
	return timings{
		interval: 500 * time.Millisecond, downInterval: 200 * time.Millisecond, checkTimeout: 2 * time.Second,
		rise: 2, fall: 3, wait: 10 * time.Second, grace: 5 * time.Second, dial: 2 * time.Second,
		hello: 5 * time.Second,
	}
}

type proxy struct {
	timings timings
	sources sources

	mu        sync.Mutex
	config    config
	backends  []*backend
	listeners map[string]net.Listener // nil while the address cannot be listened on
	held      map[string]net.Listener // that were passed to this process, and are not in use yet
	released  bool                    // another process has the addresses
	next      int
	changed   chan struct{} // closed and replaced when a backend may have become usable
}

// newProxy makes a proxy that starts with the listeners that were held for it, by
// address.
func newProxy(t timings, held map[string]net.Listener) *proxy {
	return &proxy{timings: t, listeners: map[string]net.Listener{}, held: held, changed: make(chan struct{})}
}

// apply puts a configuration into effect and keeps what did not change.
func (p *proxy) apply(c config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := p.config.ServerName == c.ServerName && p.config.roots != nil && p.config.roots.Equal(c.roots)
	old := map[string]*backend{}
	for _, b := range p.backends {
		old[b.address] = b
	}
	p.config, p.backends = c, nil
	for _, bc := range c.Backends {
		b := old[bc.Address]
		if b == nil || !same {
			b = startBackend(bc.Address, c.ServerName, c.roots, p.timings, p.wake)
		} else {
			delete(old, bc.Address)
		}
		p.backends = append(p.backends, b)
		b.setDraining(bc.Draining)
	}
	for _, b := range old {
		b.close()
	}
	p.listen(c.Listen)
	if err := closeAll(p.held); err != nil { // addresses that the configuration no longer has
		log.Printf("close listeners that were held: %v", err)
	}
	p.held = nil
}

// listen makes addresses those where the proxy listens. A configuration without any releases
// all for the next proxy: this one then only serves the connections that it has, whatever
// the configuration says later.
func (p *proxy) listen(addresses []string) {
	if len(addresses) == 0 && len(p.listeners) > 0 {
		p.released = true
	}
	if p.released {
		addresses = nil
	}
	wanted := map[string]bool{}
	for _, a := range addresses {
		wanted[a] = true
		if _, there := p.listeners[a]; !there {
			p.listeners[a] = nil
			go p.serve(a, p.held[a])
			delete(p.held, a)
		}
	}
	for a, l := range p.listeners {
		if !wanted[a] {
			delete(p.listeners, a)
			if l != nil {
				l.Close()
			}
		}
	}
}

// serve listens on one address, if no listener was held for it, and forwards every
// connection.
func (p *proxy) serve(address string, l net.Listener) {
	if l == nil {
		l = p.listenOn(address)
	}
	if l == nil {
		return
	}
	p.mu.Lock()
	if _, wanted := p.listeners[address]; !wanted {
		p.mu.Unlock()
		l.Close()
		return
	}
	p.listeners[address] = l
	p.mu.Unlock()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Printf("accept on %s: %v", address, err)
			time.Sleep(10 * time.Millisecond) // out of file descriptors, most likely
			continue
		}
		source := sourceOf(c)
		if leave := p.sources.enter(source); leave != nil {
			go p.handle(c, source, leave)
		} else {
			c.Close()
		}
	}
}

// listenOn tries until it listens on an address, which early in a boot might not
// exist yet. It returns nil if the address is no longer wanted.
func (p *proxy) listenOn(address string) net.Listener {
	for {
		// The proxy listens until its configuration changes, and ends with its process.
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
		if err == nil {
			return l
		}
		log.Printf("listen on %s: %v", address, err)
		time.Sleep(p.timings.interval)
		if !p.wants(address) {
			return nil
		}
	}
}

func (p *proxy) wants(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, wanted := p.listeners[address]
	return wanted
}

func (p *proxy) handle(client net.Conn, source netip.Addr, leave func()) {
	defer leave()
	defer client.Close()
	hello, ok := readHello(client, p.timings.hello)
	if !ok {
		return
	}
	b, server := p.connect(source)
	if server == nil {
		return
	}
	defer server.Close()
	defer b.remove(server)
	if _, err := server.Write(hello); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(server, client)
	}()
	pipe(client, server)
	<-done
}

// pipe copies until src ends, and passes the end on. If one side fails, it
// closes both, so the copy in the other direction ends as well.
func pipe(dst, src net.Conn) {
	_, err := io.Copy(dst, src)
	if err == nil {
		err = dst.(*net.TCPConn).CloseWrite()
	}
	if err != nil {
		dst.Close()
		src.Close()
	}
}

// connect waits for a usable backend that accepts a connection. It returns nil
// if there is none in time.
func (p *proxy) connect(source netip.Addr) (*backend, net.Conn) {
	deadline := time.NewTimer(p.timings.wait)
	defer deadline.Stop()
	for {
		usable, changed := p.usable()
		for _, b := range usable {
			dialer := net.Dialer{Timeout: p.timings.dial}
			if from := localFor(source, b.address); from != nil {
				dialer.LocalAddr = from
			}
			// The timeout ends it; the client has no context.
			server, err := dialer.DialContext(context.Background(), "tcp", b.address)
			if err != nil {
				if refused(err) {
					b.record(err)
				}
				continue
			}
			if b.add(server) {
				return b, server
			}
			server.Close() // it was removed meanwhile
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

// usable lists the backends that accept connections, each time starting with
// another one, and a channel that is closed at the next change.
func (p *proxy) usable() ([]*backend, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	var found []*backend
	for i := range p.backends {
		b := p.backends[(p.next+i)%len(p.backends)]
		if b.usable() {
			found = append(found, b)
		}
	}
	return found, p.changed
}

// wake lets waiting connections try again. It does not lock p.mu itself,
// because backends call it while p might wait for one of them.
func (p *proxy) wake() {
	go func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.changed)
		p.changed = make(chan struct{})
	}()
}

func (p *proxy) close() {
	p.apply(config{})
}
