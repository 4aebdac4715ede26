package main

import (
	"log"
	"net"
	"slices"
	"sync"
	"time"
)

type timings struct {
	interval, downInterval time.Duration // between checks of a backend that is in use, and that is not
	checkTimeout           time.Duration
	remoteTimeout          time.Duration // of a check of another machine
	rise, fall             int
	wait                   time.Duration // how long a connection waits for a backend
	grace                  time.Duration // how long a draining backend keeps its connections
	dial                   time.Duration
	nextDial               time.Duration // until the next machine is tried as well, where there are several
	hello                  time.Duration // how long a client has to begin with TLS
}

// defaultTimings leave no gap during a handover between API servers, as
// measured. A shorter timeout, or removal after one failed check, removes
// healthy servers under load. A machine is found dead within 1.5 s.
func defaultTimings() timings {
	return timings{
		interval: 500 * time.Millisecond, downInterval: 200 * time.Millisecond, checkTimeout: 2 * time.Second,
		remoteTimeout: 500 * time.Millisecond,
		rise:          2, fall: 3, wait: 10 * time.Second, grace: 5 * time.Second, dial: 2 * time.Second,
		nextDial: 250 * time.Millisecond, hello: 5 * time.Second,
	}
}

type proxy struct {
	timings timings
	sources sources

	mu       sync.Mutex
	config   config
	backends []*backend
	doors    map[string]*door        // the addresses of the configuration
	held     map[string]net.Listener // that were passed to this process, and are not in use yet
	released bool                    // another process has the addresses
	next     int
	changed  chan struct{} // closed and replaced when a backend may have become usable
}

// newProxy makes a proxy that starts with the listeners that were held for it, by
// address.
func newProxy(t timings, held map[string]net.Listener) *proxy {
	return &proxy{timings: t, doors: map[string]*door{}, held: held, changed: make(chan struct{})}
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
			b = startBackend(bc.Address, c.rulesOf(bc), c.ServerName, c.roots, p.timings, p.wake)
		} else {
			delete(old, bc.Address)
		}
		p.backends = append(p.backends, b)
		b.setRules(c.rulesOf(bc))
		b.setDraining(bc.Draining)
	}
	for _, b := range old {
		b.close()
	}
	p.listen(c)
	if err := closeAll(p.held); err != nil { // addresses that the configuration no longer has
		log.Printf("close listeners that were held: %v", err)
	}
	p.held = nil
}

// readiness is what the checks of the API servers of this machine say.
type readiness int

const (
	unknown readiness = iota // none is ready, and the first check of one has not ended
	ready
	notReady
)

// local is the readiness of the API servers of this machine. It needs p.mu held.
func (p *proxy) local() readiness {
	state := notReady
	for _, b := range p.backends {
		switch {
		case b.isRemote():
		case b.usable():
			return ready
		case b.unknown():
			state = unknown
		}
	}
	return state
}

// wake lets waiting connections try again, and listens where it is right now. It does not
// lock p.mu itself, because backends call it while p might wait for one of them.
func (p *proxy) wake() {
	go func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.moveDoors()
		close(p.changed)
		p.changed = make(chan struct{})
	}()
}

// usable lists the backends that accept connections: those of this machine, and then, if
// others may be used, those of others. Each time it starts with another one. changed is
// closed at the next change.
func (p *proxy) usable(others bool) (found []*backend, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	var elsewhere []*backend
	for i := range p.backends {
		b := p.backends[(p.next+i)%len(p.backends)]
		switch {
		case !b.usable():
		case b.isRemote():
			elsewhere = append(elsewhere, b)
		default:
			found = append(found, b)
		}
	}
	if others {
		found = slices.Concat(found, elsewhere)
	}
	return found, p.changed
}

func (p *proxy) close() {
	p.apply(config{})
}
