package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneFailedCheckIsForgiven(t *testing.T) {
	t.Parallel()
	changes := 0
	b := &backend{timings: timings{rise: 2, fall: 3}, conns: map[net.Conn]bool{}, changed: func() { changes++ }}
	failed, gone := errors.New("no answer in time"), &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for i, step := range []struct {
		check error
		ready bool
	}{
		{nil, true}, // the first decides alone
		{failed, true}, {failed, true}, {nil, true},
		{failed, true}, {failed, true}, {failed, false},
		{nil, false}, {failed, false}, {nil, false}, {nil, true},
		{gone, false}, {gone, false}, {nil, false}, {nil, true}, // no process listens
	} {
		b.record(step.check)
		if b.usable() != step.ready {
			t.Errorf("after check %d (%v): ready %v, want %v", i, step.check, b.usable(), step.ready)
		}
	}
}

// A second drain within the grace period of the first has its own.
func TestSecondDrainHasItsOwnGracePeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const grace = 5 * time.Second
		b := &backend{timings: timings{grace: grace}, conns: map[net.Conn]bool{}, checked: true, ready: true, changed: func() {}}
		ours, theirs := net.Pipe()
		defer theirs.Close()
		if !b.add(ours) {
			t.Fatal("a ready backend refused a connection")
		}
		open := func() bool {
			theirs.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := theirs.Read(make([]byte, 1))
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
		b.setDraining(true)
		time.Sleep(3 * time.Second)
		b.setDraining(false)
		if !b.usable() {
			t.Error("the backend stayed out of use after its drain ended")
		}
		b.setDraining(true)
		time.Sleep(grace - time.Second) // the first drain would be over
		if !open() {
			t.Error("the first drain closed the connection of the second")
		}
		time.Sleep(2 * time.Second)
		if open() {
			t.Error("the connection stayed open after the second grace period")
		}
	})
}
