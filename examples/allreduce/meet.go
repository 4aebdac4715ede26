package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// group is the tasks that add up together, as one of them knows it.
type group struct {
	rank      int
	addresses []string // by rank, where each listens for the one before it
	listener  net.Listener
}

// meet finds the other tasks.
func meet(ctx context.Context, o options) (*group, error) {
	switch {
	case o.hostfile != "":
		return fromFile(ctx, o.hostfile, o.rank)
	case o.head != "":
		return lead(ctx, o.head, o.size)
	case o.join != "":
		return join(ctx, o.join, -1)
	case o.first != "" && o.rank == 0:
		_, port, err := net.SplitHostPort(o.first)
		if err != nil {
			return nil, fmt.Errorf("read --first: %w", err)
		}
		return lead(ctx, ":"+port, o.size)
	case o.first != "":
		return join(ctx, o.first, o.rank)
	default:
		return nil, errors.New("give --first, --hostfile, --head, or --join")
	}
}

// fromFile reads all addresses from a file. Each task listens on its port.
func fromFile(ctx context.Context, file string, rank int) (*group, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the hosts: %w", err)
	}
	g := &group{rank: rank, addresses: strings.Fields(string(data))}
	if rank < 0 || rank >= len(g.addresses) {
		return nil, fmt.Errorf("rank %d is not in %s, which has %d hosts", rank, file, len(g.addresses))
	}
	_, port, err := net.SplitHostPort(g.addresses[rank])
	if err != nil {
		return nil, fmt.Errorf("read the address of rank %d: %w", rank, err)
	}
	g.listener, err = listen(ctx, ":"+port)
	return g, err
}

// member is what a task says when it joins, and answer is what it receives.
type member struct {
	Rank int    `json:"rank"` // -1: any
	Port string `json:"port"`
}

type answer struct {
	Rank      int      `json:"rank"`
	Addresses []string `json:"addresses"`
}

// lead waits for all other tasks, and gives each the addresses of all. Its rank is 0.
func lead(ctx context.Context, address string, size int) (*group, error) {
	if size < 1 {
		return nil, errors.New("--size must be at least 1")
	}
	meeting, err := listen(ctx, address)
	if err != nil {
		return nil, err
	}
	defer meeting.Close()
	g := &group{addresses: make([]string, size)}
	if g.listener, err = listen(ctx, ":0"); err != nil {
		return nil, err
	}
	conns := make([]net.Conn, size)
	for joined := 1; joined < size; joined++ {
		conn, err := meeting.Accept()
		if err != nil {
			return nil, fmt.Errorf("wait for %d more tasks: %w", size-joined, err)
		}
		defer conn.Close()
		withDeadline(ctx, conn)
		var m member
		if err := json.NewDecoder(bufio.NewReader(conn)).Decode(&m); err != nil {
			return nil, fmt.Errorf("read who joins from %s: %w", conn.RemoteAddr(), err)
		}
		if m.Rank < 0 {
			m.Rank = joined
		}
		if m.Rank < 1 || m.Rank >= size || conns[m.Rank] != nil {
			return nil, fmt.Errorf("a task joined with rank %d of %d", m.Rank, size)
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			return nil, err
		}
		conns[m.Rank], g.addresses[m.Rank] = conn, net.JoinHostPort(host, m.Port)
	}
	_, port, err := net.SplitHostPort(g.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	for rank, conn := range conns {
		if conn == nil {
			continue
		}
		host, _, err := net.SplitHostPort(conn.LocalAddr().String())
		if err != nil {
			return nil, err
		}
		g.addresses[0] = net.JoinHostPort(host, port)
		if err := json.NewEncoder(conn).Encode(answer{rank, g.addresses}); err != nil {
			return nil, fmt.Errorf("answer rank %d: %w", rank, err)
		}
	}
	if size == 1 {
		g.addresses[0] = net.JoinHostPort("127.0.0.1", port)
	}
	return g, nil
}

// join asks the task at an address for the addresses of all.
func join(ctx context.Context, address string, rank int) (*group, error) {
	listener, err := listen(ctx, ":0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, err
	}
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(member{rank, port}); err != nil {
		return nil, fmt.Errorf("join %s: %w", address, err)
	}
	var a answer
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return nil, fmt.Errorf("wait for the answer of %s: %w", address, err)
	}
	if a.Rank < 0 || a.Rank >= len(a.Addresses) {
		return nil, fmt.Errorf("%s answered rank %d of %d", address, a.Rank, len(a.Addresses))
	}
	return &group{a.Rank, a.Addresses, listener}, nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = l.(*net.TCPListener).SetDeadline(deadline)
	}
	return l, nil
}

// dial connects to a task that might not listen yet.
func dial(ctx context.Context, address string) (net.Conn, error) {
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			withDeadline(ctx, conn)
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to %s: %w", address, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func withDeadline(ctx context.Context, conn net.Conn) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
}
