package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// A configuration without addresses releases them for the next proxy. The one before serves the
// connections that it has, and does not take the addresses again when the configuration
// names them, as it does for the next proxy.
func TestReleasedProxyServesItsConnections(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	server := startAPIServer(t, f.authority, apiName, "server")
	backends := []backendConfig{{Address: server.address()}}
	f.use(backends...)
	f.eventually("server")
	kept := f.client(true)
	if got, err := f.ask(kept); got != "server" || err != nil {
		t.Fatalf("answered by %q: %v", got, err)
	}
	f.apply(nil, backends...)
	var next net.Listener
	f.until("the address is free", func() (free bool) {
		l, err := net.Listen("tcp", f.address)
		next = l
		return err == nil
	})
	if got, err := f.ask(kept); got != "server" || err != nil {
		t.Errorf("the connection from before is answered by %q: %v", got, err)
	}

	f.use(backends...) // the configuration is that of the next proxy
	next.Close()       // which crashes
	if f.proxy.wants(f.address) {
		t.Error("the proxy takes the address again")
	}
	if got, err := f.ask(kept); got != "server" || err != nil {
		t.Errorf("the connection from before is then answered by %q: %v", got, err)
	}
}

// The configuration reaches a process that has released its addresses: a server that stops is
// asked for nothing new, and ends the connections to it.
func TestReleasedProxyFollowsItsServers(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.authority = newAuthority(t)
	f.proxy.timings.grace = 0
	server := startAPIServer(t, f.authority, apiName, "server")
	f.use(backendConfig{Address: server.address()})
	f.eventually("server")
	f.until("the connections of the requests are closed", func() bool { return f.handedOn() == 0 })
	c, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(helloBytes); err != nil {
		t.Fatal(err)
	}
	f.until("the connection is handed on", func() bool { return f.handedOn() == 1 })
	f.apply(nil, backendConfig{Address: server.address()})
	f.use(backendConfig{Address: server.address(), Draining: true})
	if err := c.SetReadDeadline(time.Now().Add(longTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil && isTimeout(err) {
		t.Errorf("the connection to a server that stops stayed open: %v", err)
	}
}
