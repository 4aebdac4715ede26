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
	"pai.dev/pai/internal/poll"
)

// waitUntilUp waits until the machine is reachable over ssh and has started
// everything that it starts at boot.
func (m container) waitUntilUp(ctx context.Context, endpoint machine.Endpoint) error {
	wait := poll.Wait{For: fmt.Sprintf("machine %q", m.name), Timeout: bootTimeout, Every: 100 * time.Millisecond}
	err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
		err := m.checkUp(ctx, endpoint)
		if err != nil && len(m.processes()) == 0 {
			err = poll.Final(fmt.Errorf("machine %q stopped during boot", m.name))
		}
		return err == nil, err
	})
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return pai.Errorf(pai.CodeFailed, "see its console in "+m.console(), "%w: %s", err, m.consoleTail())
}

// checkUp returns why the machine is not up yet.
func (m container) checkUp(ctx context.Context, endpoint machine.Endpoint) error {
	// A packet is lost while the machine has no network: try often and briefly.
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
	// The command also fails for "degraded", which is up.
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

// reboot makes systemd reboot the machine and waits until the new one runs.
func (m container) reboot(ctx context.Context) error {
	old := m.leader()
	if old == 0 {
		return pai.Errorf(pai.CodeFailed, "start the machines; run: paictl up", "machine %q is not running", m.name)
	}
	// SIGRTMIN+5 starts reboot.target (systemd(1), "Signals").
	const sigRTMIN = 34
	if err := signalProcess(old, syscall.Signal(sigRTMIN+5), m.owns); err != nil {
		return err
	}
	wait := poll.Wait{For: "the reboot", Timeout: bootTimeout, Every: 100 * time.Millisecond}
	return wait.Until(ctx, func(context.Context) (bool, error) {
		now := m.leader()
		return now != 0 && now != old, nil
	})
}
