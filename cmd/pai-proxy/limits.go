package main

import (
	"io"
	"log"
	"net"
	"net/netip"
	"sync"
	"time"
)

// What clients that are not on this machine can hold. A machine needs fewer than 50
// connections, a pod one or two. Clients on this machine have no limit: they are the
// programs of the machine, because each pod has a separate loopback address.
const (
	// maxPerSource is the limit of one address, whether a pod or a machine.
	maxPerSource = 256
	// crowded is a number of connections of all addresses. Once they are open, an
	// address can have only fewPerSource, so that ports and memory are left for others.
	crowded      = 8000
	fewPerSource = 32
	// reportEvery is the pause between two log lines about refused connections.
	reportEvery = 10 * time.Second
)

// sources counts the open connections of each client address.
type sources struct {
	mu       sync.Mutex
	of       map[netip.Addr]int
	total    int
	refused  int // since the last report
	reported time.Time
}

// enter counts a connection until leave is called. It returns nil if the address has
// too many.
func (s *sources) enter(source netip.Addr) (leave func()) {
	if source.IsLoopback() {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := maxPerSource
	if s.total >= crowded {
		limit = fewPerSource
	}
	if s.of[source] >= limit {
		s.refused++
		if time.Since(s.reported) >= reportEvery {
			log.Printf("%s has %d connections, which is the limit; %d were refused since the last report", source, s.of[source], s.refused)
			s.refused, s.reported = 0, time.Now()
		}
		return nil
	}
	if s.of == nil {
		s.of = map[netip.Addr]int{}
	}
	s.of[source]++
	s.total++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.of[source]--; s.of[source] == 0 {
			delete(s.of, source)
		}
	}
}

// sourceOf is the address of a client.
func sourceOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// readHello returns the first bytes of a client that speaks TLS. A client that does
// not within limit costs an API server nothing.
func readHello(c net.Conn, limit time.Duration) ([]byte, bool) {
	const handshake, clientHello = 0x16, 1 // of a TLS record, and of its content
	start := make([]byte, 6)
	if c.SetReadDeadline(time.Now().Add(limit)) != nil {
		return nil, false
	}
	if _, err := io.ReadFull(c, start); err != nil {
		return nil, false
	}
	if start[0] != handshake || start[1] != 3 || start[5] != clientHello {
		return nil, false
	}
	return start, c.SetReadDeadline(time.Time{}) == nil
}

// localFor is the source address of a connection to an API server on this machine: a
// loopback address that ends like the address of the client. So each client has its own
// ports, and the audit log shows which one it was. nil is the usual address.
func localFor(source netip.Addr, backend string) *net.TCPAddr {
	to, err := netip.ParseAddrPort(backend)
	if err != nil || !to.Addr().Is4() || !to.Addr().IsLoopback() || !source.Is4() || source.IsLoopback() {
		return nil
	}
	a := source.As4()
	if a[3] == 0 || a[3] == 255 {
		return nil // might be the address of a network
	}
	return &net.TCPAddr{IP: net.IPv4(127, a[1], a[2], a[3])}
}
