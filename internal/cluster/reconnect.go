package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// reconnectTimeout is how long an API server has to connect to the new etcd by
// itself. gRPC tries again after a second at first, and then 1.6 times later each
// time (connection backoff), so a handover to another API server costs less.
const reconnectTimeout = 500 * time.Millisecond

// reconnectAPIServer ensures that the API server is connected to the new etcd before
// the old one is removed. An API server that has found the port of the new one closed
// for long tries only every two minutes, and would have no etcd until then. In that
// case another one takes over, which connects to both.
func (e etcdHandover) reconnectAPIServer(ctx context.Context) error {
	states, err := slotStates(ctx, e.h, apiServerRole)
	if err != nil {
		return err
	}
	var running []layout.Slot
	for _, s := range layout.Slots() {
		if states[s].Running != "" {
			running = append(running, s)
		}
	}
	if len(running) == 0 {
		return nil // not running: it will connect when it starts
	}
	keep, err := e.connectedServer(ctx, e.h, running, e.to)
	if err != nil {
		return err
	}
	if keep == nil {
		if keep, err = e.startConnected(ctx, running, states); err != nil {
			return fmt.Errorf("hand over to an API server that is connected to the new etcd: %w", err)
		}
	}
	for _, s := range running {
		if s == *keep {
			continue
		}
		if err := e.drainAndRemoveAPIServer(ctx, e.h, e.m, s); err != nil {
			return err
		}
	}
	return nil
}

// connectedServer is a ready API server that has all its connections to an
// etcd; nil if there is none within reconnectTimeout.
func (c *cluster) connectedServer(ctx context.Context, h machine.Host, running []layout.Slot, etcd layout.Slot) (*layout.Slot, error) {
	var found *layout.Slot
	wait := poll.Wait{For: "an API server to connect to the new etcd", Timeout: reconnectTimeout, Every: 300 * time.Millisecond}
	err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
		for _, s := range running {
			ok, err := connectedTo(ctx, h, s, etcd)
			if err != nil {
				return false, err
			}
			if ok && c.apiServerReady(ctx, h, s) == nil {
				found = &s
				return true, nil
			}
		}
		return false, nil
	})
	if timeout := (*poll.TimeoutError)(nil); errors.As(err, &timeout) {
		return nil, timeout.Last
	}
	return found, err
}

// connectedTo reports whether an API server has at least as many connections to
// one etcd as to the other. Each of its many clients connects separately.
func connectedTo(ctx context.Context, h machine.Host, s, etcd layout.Slot) (bool, error) {
	out, err := sh(ctx, h, `
pid=$(systemctl show -p MainPID --value %s)
connections() { ss -Htnp state established "dport = :$1" | grep -c "pid=$pid," || :; }
new=$(connections %d)
[ "$new" -gt 0 ] && [ "$new" -ge "$(connections %d)" ] && echo yes || :`, layout.Unit(s.APIServer), etcd.EtcdClientPort, etcd.Other().EtcdClientPort)
	if err != nil {
		return false, fmt.Errorf("read the etcd connections of the API server: %w", err)
	}
	return out == "yes", nil
}

// startConnected starts an API server in the idle slot: the one that is handed over to
// next, or else one of the running version. If both slots run, as after an interrupted
// run, one is stopped first.
func (e etcdHandover) startConnected(ctx context.Context, running []layout.Slot, states map[layout.Slot]plan.RoleState) (*layout.Slot, error) {
	from := running[0]
	to := from.Other()
	if len(running) > 1 {
		if err := e.drainAndRemoveAPIServer(ctx, e.h, e.m, to); err != nil {
			return nil, err
		}
	}
	if e.apiServerAs == "" || !states[from].Running.Less(e.v) {
		want := states[from]
		want.Link = want.Running
		return &to, e.startAPIServer(ctx, e.h, e.m, to, want, plan.RoleState{})
	}
	if err := e.renewCertificates(ctx, e.h); err != nil {
		return nil, err
	}
	return &to, e.startAPIServer(ctx, e.h, e.m, to, plan.RoleState{Link: e.v, Running: e.v, Emulates: e.apiServerAs}, plan.RoleState{})
}
