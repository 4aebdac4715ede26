package main

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// helloBytes begin every TLS connection.
var helloBytes = []byte{0x16, 3, 1, 0, 200, 1}

// Two addresses that open as many connections as they can do not keep others out, and
// neither do very many addresses.
func TestOneAddressCannotTakeAllConnections(t *testing.T) {
	t.Parallel()
	var s sources
	flood := func(a netip.Addr) (held []func()) {
		for range 2 * maxPerSource {
			if leave := s.enter(a); leave != nil {
				held = append(held, leave)
			}
		}
		return held
	}
	pods := [2]netip.Addr{netip.MustParseAddr("10.244.0.7"), netip.MustParseAddr("10.244.0.8")}
	first := flood(pods[0])
	if len(first) != maxPerSource || len(flood(pods[1])) != maxPerSource {
		t.Fatalf("one address has %d connections", len(first))
	}
	machine := netip.MustParseAddr("10.9.0.12")
	for range 200 {
		if s.enter(machine) == nil {
			t.Fatal("a machine is refused beside a flood")
		}
	}
	first[0]()
	if s.enter(pods[0]) == nil || s.enter(pods[0]) != nil {
		t.Error("a closed connection does not count exactly once less")
	}
	a := netip.MustParseAddr("10.10.0.1")
	for range 200 {
		flood(a)
		a = a.Next()
	}
	if max := crowded + 200*fewPerSource; s.total > max {
		t.Errorf("%d connections are open, want at most %d", s.total, max)
	}
	for range fewPerSource {
		if s.enter(netip.MustParseAddr("10.9.0.13")) == nil {
			t.Fatal("a machine with few connections is refused")
		}
	}
	for range 10 * maxPerSource {
		if s.enter(netip.MustParseAddr("127.0.0.1")) == nil {
			t.Fatal("a program of this machine is refused")
		}
	}
}

func TestSourcesAreDropped(t *testing.T) {
	t.Parallel()
	var s sources
	a := netip.MustParseAddr("10.0.0.1")
	for range 100 {
		leave := s.enter(a)
		a = a.Next()
		leave()
	}
	if len(s.of) != 0 || s.total != 0 {
		t.Errorf("%d addresses and %d connections are left", len(s.of), s.total)
	}
}

func TestLocalFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, backend, want string }{
		{"10.244.3.17", "127.0.0.1:6444", "127.244.3.17"},
		{"127.0.0.1", "127.0.0.1:6444", ""},
		{"10.244.3.17", "10.9.0.11:6443", ""},
		{"10.255.255.255", "127.0.0.1:6444", ""},
		{"10.0.0.0", "127.0.0.1:6444", ""},
		{"fd00::1", "127.0.0.1:6444", ""},
	} {
		got := ""
		if a := localFor(netip.MustParseAddr(c.source), c.backend); a != nil {
			got = a.IP.String()
		}
		if got != c.want {
			t.Errorf("%s to %s: got %q, want %q", c.source, c.backend, got, c.want)
		}
	}
}

// An API server sees which client it was.
func TestConnectionsOfAClientHaveItsAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newProxy(testTimings(), nil)
	p.backends = []*backend{{address: l.Addr().String(), timings: p.timings, ready: true, conns: map[net.Conn]bool{}, changed: func() {}}}
	_, server := p.connect(netip.MustParseAddr("10.244.3.17"), false)
	if server == nil {
		t.Fatal("no connection")
	}
	defer server.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := sourceOf(c).String(); got != "127.244.3.17" {
		t.Errorf("the server sees %s", got)
	}
}

// A client that does not begin with TLS reaches no API server, and is not kept.
func TestClientsThatDoNotSpeakTLS(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	f.proxy.timings.hello = 200 * time.Millisecond
	a := startAPIServer(t, f.authority, apiName, "a")
	f.use(backendConfig{Address: a.address()})
	f.eventually("a")
	for name, sends := range map[string]string{"silent": "", "slow": "\x16\x03", "plain": "GET / HTTP/1.1\r\n\r\n", "not a hello": "\x16\x03\x01\x00\x10\x02"} {
		c, err := net.Dial("tcp", f.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, sends); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(longTimeout))
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) {
			t.Errorf("%s: read %d bytes, %v, want a closed connection", name, n, err)
		}
	}
	f.eventually("a")
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
