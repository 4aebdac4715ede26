package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

func (p *proxy) handle(client net.Conn, source netip.Addr, ofMachine bool, leave func()) {
	defer leave()
	defer client.Close()
	hello, ok := readHello(client, p.timings.hello)
	if !ok {
		return
	}
	for range maxOffers {
		b, server := p.connect(source, ofMachine)
		if server == nil {
			return
		}
		if again := p.forward(b, server, client, &hello); !again {
			return
		}
		time.Sleep(p.timings.nextDial) // its next check is soon
	}
}

// maxOffers bounds how often a connection is offered to other machines. With the pauses it
// takes longer than the checks need to find that a machine has no API server any more.
const maxOffers = 5

// forward passes bytes between a client and a server, which got a connection for it, until
// both have ended. hello is what the client has sent so far. again means that another server
// can have the connection, because this one has not seen all of hello, or is a machine that
// ended it before its first byte: its API server was stopped at this moment.
func (p *proxy) forward(b *backend, server, client net.Conn, hello *[]byte) (again bool) {
	defer server.Close()
	defer b.remove(server)
	if _, err := server.Write(*hello); err != nil {
		return b.isRemote()
	}
	if b.isRemote() {
		switch offer(server, client, hello) {
		case clientEnded:
			return false
		case serverEnded:
			return true
		case answered:
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(server, client)
	}()
	pipe(client, server)
	<-done
	return false
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

// offerOutcome is how an offer ended.
type offerOutcome int

const (
	answered offerOutcome = iota
	serverEnded
	clientEnded
)

// maxHello is how much a client sends before the first byte of a server: the beginning of a
// TLS handshake.
const maxHello = 64 << 10

// offer passes on what the client sends, and adds it to hello, until the first bytes of the
// server, which it passes on to the client. Up to there nothing has happened at the server
// that another one cannot do.
func offer(server, client net.Conn, hello *[]byte) offerOutcome {
	ended := make(chan bool, 1) // whether the client ended
	go func() { ended <- passHello(server, client, hello) }()
	first := make([]byte, 32<<10)
	n, _ := server.Read(first)
	// It wakes up the other goroutine. A read returns what it has got, or the timeout.
	stopped := client.SetReadDeadline(time.Unix(1, 0))
	gone := <-ended
	switch {
	case gone || stopped != nil || client.SetReadDeadline(time.Time{}) != nil:
		return clientEnded
	case n == 0:
		return serverEnded
	}
	if _, err := client.Write(first[:n]); err != nil {
		return clientEnded
	}
	return answered
}

// passHello passes on what the client sends until its read deadline, and reports whether the
// client ended. Then it ends the connection to the server as well.
func passHello(server, client net.Conn, hello *[]byte) (ended bool) {
	buffer := make([]byte, 4<<10)
	for len(*hello) < maxHello {
		n, err := client.Read(buffer)
		*hello = append(*hello, buffer[:n]...)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err != nil {
			break
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return false // the other goroutine finds that the server has ended
		}
	}
	server.Close()
	return true
}
