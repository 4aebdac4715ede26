package main

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Errors of checks.
var (
	errRefused  error = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errSlow     error = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	errNotReady error = &notReadyError{status: "500"}
	errStopping error = &notReadyError{status: "500", stops: true}
	errBroken         = errors.New("x509: certificate signed by unknown authority")
)

// made is a backend without checks, which has been ready, and a client of it.
func made(t interface{ Fatal(...any) }, r rules) (b *backend, cut func() bool) {
	b = &backend{rules: r, timings: timings{rise: 2, fall: 3}, conns: map[net.Conn]bool{}, changed: func() {}}
	b.record(nil)
	ours, theirs := net.Pipe()
	if !b.add(ours) {
		t.Fatal("a backend is not ready after its first check")
	}
	return b, func() bool {
		_ = theirs.SetReadDeadline(time.Now().Add(time.Millisecond)) // a pipe has deadlines
		_, err := theirs.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
}

// What removes a backend, and whether its open connections end then.
func TestChecksRemoveABackendByItsRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rules rules
		err   error
		after int // failed checks; 0: never
		cut   bool
	}{
		{"alone, slow", alone, errSlow, 3, true},
		{"alone, not ready", alone, errNotReady, 3, true},
		{"alone, stops", alone, errStopping, 3, true},
		{"alone, refused", alone, errRefused, 1, false},
		{"with others, slow", redundant, errSlow, 0, false},
		{"with others, out of time", redundant, context.DeadlineExceeded, 0, false},
		{"with others, not ready", redundant, errNotReady, 3, true},
		{"with others, stops", redundant, errStopping, 1, false},
		{"with others, refused", redundant, errRefused, 1, false},
		{"with others, another certificate", redundant, errBroken, 3, true},
		{"another machine, dead", remote, errSlow, 2, true},
		{"another machine, unreachable", remote, syscall.EHOSTUNREACH, 2, true},
		{"another machine, refused", remote, errRefused, 1, false},
	} {
		b, cut := made(t, c.rules)
		after := 0
		for n := 1; n <= 20 && after == 0; n++ {
			if b.record(c.err); !b.usable() {
				after = n
			}
		}
		if after != c.after || cut() != c.cut {
			t.Errorf("%s: removed after %d checks, connections cut %v, want %d, %v", c.name, after, cut(), c.after, c.cut)
		}
	}
}

// One success adds another machine again, and two an API server of this one.
func TestChecksAddABackendByItsRules(t *testing.T) {
	t.Parallel()
	for r, want := range map[rules]int{alone: 2, redundant: 2, remote: 1} {
		b, _ := made(t, r)
		b.record(errRefused)
		got := 0
		for !b.usable() {
			b.record(nil)
			got++
		}
		if got != want {
			t.Errorf("rules %d: added after %d checks, want %d", r, got, want)
		}
	}
}

// usableAfter is whether a backend is usable after some checks, from the rules as they are
// written in the documents: the last removal or addition decides.
func usableAfter(r rules, checks []error) bool {
	usable := false
	since := 0 // the first check that counts
	for n := range checks {
		run := checks[since : n+1]
		switch {
		case n == 0:
			usable, since = checks[0] == nil, 1
		case usable && removes(r, run):
			usable, since = false, n+1
		case !usable && endsIn(run, map[rules]int{alone: 2, redundant: 2, remote: 1}[r], func(err error) bool { return err == nil }):
			usable, since = true, n+1
		}
	}
	return usable
}

func removes(r rules, run []error) bool {
	last := run[len(run)-1]
	failed := func(err error) bool { return err != nil }
	switch {
	case last == nil:
		return false
	case errors.Is(last, syscall.ECONNREFUSED):
		return true
	case r == remote:
		return endsIn(run, 2, failed)
	case r == alone:
		return endsIn(run, 3, failed)
	case errors.Is(last, errSlow):
		return false
	case errors.Is(last, errStopping):
		return true
	}
	var counted []error // a slow answer says nothing
	for _, err := range run {
		if !errors.Is(err, errSlow) {
			counted = append(counted, err)
		}
	}
	return endsIn(counted, 3, failed)
}

func endsIn(run []error, n int, are func(error) bool) bool {
	if len(run) < n {
		return false
	}
	for _, err := range run[len(run)-n:] {
		if !are(err) {
			return false
		}
	}
	return true
}

func TestAnyChecksFollowTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.SampledFrom([]rules{alone, redundant, remote}).Draw(t, "rules")
		checks := rapid.SliceOfN(rapid.SampledFrom([]error{nil, nil, errRefused, errSlow, errNotReady, errStopping, errBroken}), 1, 30).Draw(t, "checks")
		b := &backend{rules: r, timings: timings{rise: 2, fall: 3}, conns: map[net.Conn]bool{}, changed: func() {}}
		for n, err := range checks {
			b.record(err)
			if got, want := b.usable(), usableAfter(r, checks[:n+1]); got != want {
				t.Fatalf("usable %v after check %d, want %v", got, n, want)
			}
		}
	})
}

// A machine is checked every interval also if a check takes as long as it can.
func TestChecksOfMachinesBeginEveryInterval(t *testing.T) {
	t.Parallel()
	times := defaultTimings()
	b := &backend{rules: remote, timings: times, ready: true}
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: 499 * time.Millisecond, times.remoteTimeout: 0, time.Second: 0} {
		if got := b.pause(took); got != want {
			t.Errorf("after a check of %s: got %s, want %s", took, got, want)
		}
	}
	// Dead right after a check: the pause, and two checks.
	if found := times.interval + remoteFall*times.remoteTimeout; found > 1500*time.Millisecond {
		t.Errorf("a dead machine is found after %s", found)
	}
}
