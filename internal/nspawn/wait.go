package nspawn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// waitUntilUp waits until the machine answers by ssh and has started all it
// starts at boot.
func (m container) waitUntilUp(ctx context.Context, endpoint machine.Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	for {
		err := m.answers(ctx, endpoint)
		if err == nil {
			return nil
		}
		what := ""
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return fmt.Errorf("wait for machine %q: %w", m.name, ctx.Err())
		case ctx.Err() != nil:
			what = fmt.Sprintf("does not answer after %s (%v)", bootTimeout, err)
		case len(m.processes()) == 0:
			what = "ended while it booted"
		}
		if what != "" {
			return pai.Errorf(pai.CodeFailed, "its console is in "+m.console(), "machine %q %s: %s", m.name, what, m.consoleTail())
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// answers reports why the machine is not up yet.
func (m container) answers(ctx context.Context, endpoint machine.Endpoint) error {
	// A packet to a machine that has no network yet is lost: ask often and briefly.
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", endpoint.HostPort())
	if err != nil {
		return err
	}
	conn.Close()
	host, err := machine.Dial(ctx, endpoint)
	if err != nil {
		return err
	}
	defer host.Close()
	// It fails for "degraded", too: a unit that failed is not for us to judge.
	_, err = host.Run(ctx, machine.Command{Script: "systemctl is-system-running --wait >/dev/null || true"})
	return err
}

func (m container) consoleTail() string {
	data, err := os.ReadFile(m.console())
	if err != nil {
		return "no console log"
	}
	return strings.TrimSpace(machine.Tail(string(data), 500))
}

// reboot asks the machine's systemd to reboot in order and waits until
// another one runs.
func (m container) reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	old := m.leader()
	if old == 0 {
		return pai.Errorf(pai.CodeFailed, "paictl up starts it", "machine %q does not run", m.name)
	}
	// SIGRTMIN+5 starts reboot.target (systemd(1), "Signals").
	const sigRTMIN = 34
	if err := signalProcess(old, syscall.Signal(sigRTMIN+5), m.owns); err != nil {
		return err
	}
	for {
		if now := m.leader(); now != 0 && now != old {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it has not gone down and come back: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
