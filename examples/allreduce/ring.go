package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
)

// ring connects each task to the next one.
type ring struct {
	rank, size int
	next, last net.Conn
	listener   net.Listener
	reader     *bufio.Reader
}

// ring connects this task to its neighbors.
func (g *group) ring(ctx context.Context) (*ring, error) {
	r := &ring{rank: g.rank, size: len(g.addresses), listener: g.listener}
	if r.size == 1 {
		return r, nil
	}
	var err error
	if r.next, err = dial(ctx, g.addresses[(g.rank+1)%r.size]); err != nil {
		return nil, err
	}
	if r.last, err = g.listener.Accept(); err != nil {
		return nil, err
	}
	withDeadline(ctx, r.last)
	r.reader = bufio.NewReaderSize(r.last, 1<<16)
	return r, nil
}

func (r *ring) close() {
	for _, c := range []io.Closer{r.next, r.last, r.listener} {
		if c != nil {
			_ = c.Close()
		}
	}
}

// allReduce replaces the numbers by their sums over all tasks. In the first half, each
// part travels around the ring and is added up; in the second, the sums travel.
func (r *ring) allReduce(numbers []float64) error {
	part := func(i int) []float64 {
		i = ((i % r.size) + r.size) % r.size
		return numbers[len(numbers)*i/r.size : len(numbers)*(i+1)/r.size]
	}
	for step := range r.size - 1 {
		into := part(r.rank - step - 1)
		got := make([]float64, len(into))
		if err := r.exchange(part(r.rank-step), got); err != nil {
			return err
		}
		for i, v := range got {
			into[i] += v
		}
	}
	for step := range r.size - 1 {
		if err := r.exchange(part(r.rank-step+1), part(r.rank-step)); err != nil {
			return err
		}
	}
	return nil
}

// exchange sends numbers to the next task while it receives from the one before.
func (r *ring) exchange(send, receive []float64) error {
	sent := make(chan error, 1)
	go func() {
		data := make([]byte, 8*len(send))
		for i, v := range send {
			binary.LittleEndian.PutUint64(data[8*i:], math.Float64bits(v))
		}
		_, err := r.next.Write(data)
		sent <- err
	}()
	data := make([]byte, 8*len(receive))
	if _, err := io.ReadFull(r.reader, data); err != nil {
		return fmt.Errorf("receive from the task before: %w", err)
	}
	for i := range receive {
		receive[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("send to the next task: %w", err)
	}
	return nil
}
