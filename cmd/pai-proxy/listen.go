package main

import (
	"context"
	"errors"
	"log"
	"net"
	"time"
)

// door is an address where the proxy listens. The fields need proxy.mu held.
type door struct {
	address  string
	machines bool         // for other machines, which reach only the API servers of this one
	listener net.Listener // nil while the address is closed, or cannot be listened on
	served   bool         // a goroutine listens there, or tries to
}

// close closes the listener. The connections that it accepted stay.
func (d *door) close() {
	if d.listener != nil {
		d.listener.Close()
		d.listener = nil
	}
}

// listen makes the addresses of a configuration those where the proxy listens. A
// configuration without any releases all for the next proxy: this one then only serves the
// connections that it has, whatever the configuration says later.
func (p *proxy) listen(c config) {
	if len(c.Listen)+len(c.Serve) == 0 && len(p.doors) > 0 {
		p.released = true
	}
	machines := map[string]bool{}
	if !p.released {
		for _, a := range c.Listen {
			machines[a] = false
		}
		for _, a := range c.Serve {
			machines[a] = true
		}
	}
	for a, d := range p.doors {
		if _, wanted := machines[a]; !wanted {
			delete(p.doors, a)
			d.close()
		}
	}
	for a, m := range machines {
		d := p.doors[a]
		if d == nil {
			d = &door{address: a, listener: p.held[a]}
			p.doors[a] = d
			delete(p.held, a)
		}
		d.machines = m
	}
	p.moveDoors()
}

// moveDoors opens and closes the doors. While it is not known whether an API server of this
// machine is ready, a door for machines stays as it is: clients wait in the queue of a
// listener that was held.
func (p *proxy) moveDoors() {
	local := p.local()
	for _, d := range p.doors {
		switch {
		case !d.machines || local == ready:
			if !d.served {
				d.served = true
				go p.serve(d)
			}
		case local == notReady:
			d.close()
		}
	}
}

// open reports whether the proxy is to listen at a door now.
func (p *proxy) open(d *door) bool {
	return p.doors[d.address] == d && (!d.machines || p.local() != notReady)
}

// serve listens at a door, if no listener was held for it, and forwards every connection
// until the door is closed.
func (p *proxy) serve(d *door) {
	if l := p.listenAt(d); l != nil {
		p.accept(d, l)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.served = false
	p.moveDoors() // it can have been opened again meanwhile
}

func (p *proxy) accept(d *door, l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Printf("accept on %s: %v", d.address, err)
			time.Sleep(10 * time.Millisecond) // out of file descriptors, most likely
			continue
		}
		source := sourceOf(c)
		if leave := p.sources.enter(source); leave != nil {
			go p.handle(c, source, p.isForMachines(d), leave)
		} else {
			c.Close()
		}
	}
}

func (p *proxy) isForMachines(d *door) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return d.machines
}

// listenAt tries until it listens at a door, whose address might not exist yet early in a
// boot. It returns nil once the door is to be closed.
func (p *proxy) listenAt(d *door) net.Listener {
	for {
		l, wanted, err := p.tryListen(d)
		if !wanted || err == nil {
			return l
		}
		log.Printf("listen on %s: %v", d.address, err)
		time.Sleep(p.timings.interval)
	}
}

// tryListen holds the lock, so that a door is not closed between the look and the listener.
func (p *proxy) tryListen(d *door) (l net.Listener, wanted bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open(d) {
		return nil, false, nil
	}
	if d.listener == nil {
		// The proxy listens until its configuration changes, and ends with its process.
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", d.address)
		if err != nil {
			return nil, true, err
		}
		d.listener = l
	}
	return d.listener, true, nil
}

func (p *proxy) wants(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doors[address] != nil
}
