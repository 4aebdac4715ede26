package cluster

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// drainTime is how long the proxy is given to notice that an API server is
// draining, before that is stopped: it looks at its configuration every 200 ms.
// An API server that is asked to stop ends what it was asked before.
const drainTime = 500 * time.Millisecond

// apiServerReady asks the API server of one slot itself.
func (c *cluster) apiServerReady(ctx context.Context, h machine.Host, s layout.Slot) error {
	ca, err := h.ReadFile(ctx, layout.PKIDir+"/ca.crt")
	if err != nil {
		return err
	}
	return probe(ctx, h, fmt.Sprintf("https://127.0.0.1:%d/readyz", s.APIServerPort), ca)
}

// slotStates reads both slots of etcd or of the API server.
func slotStates(ctx context.Context, h machine.Host, role func(layout.Slot) plan.Role) (map[layout.Slot]plan.RoleState, error) {
	states := map[layout.Slot]plan.RoleState{}
	for _, s := range layout.Slots() {
		state, err := roleState(ctx, h, role(s))
		if err != nil {
			return nil, err
		}
		states[s] = state
	}
	return states, nil
}

func apiServerRole(s layout.Slot) plan.Role { return s.APIServer }

func (c *cluster) apiServerDone(ctx context.Context, s plan.Step) (bool, error) {
	h, _, err := c.target(s)
	if err != nil {
		return false, err
	}
	states, err := slotStates(ctx, h, apiServerRole)
	if err != nil {
		return false, err
	}
	want := plan.RoleState{Link: s.To.Kubernetes(), Running: s.To.Kubernetes(), Emulates: s.Emulate}
	to, from := chooseSlots(states, want)
	if states[to] != want || states[from].Running != "" || states[from].Link != "" {
		return false, nil
	}
	return c.apiServerReady(ctx, h, to) == nil, nil
}

// chooseSlots says which slot is to run something and which is not: the one
// that is on its way there already, else the one that is idle. A slot that was
// halted and still has its link is idle: what runs must not be restarted for it.
func chooseSlots(states map[layout.Slot]plan.RoleState, want plan.RoleState) (to, from layout.Slot) {
	for _, s := range layout.Slots() {
		if states[s].Link == want.Link && states[s].Emulates == want.Emulates {
			return s, s.Other()
		}
	}
	for _, s := range layout.Slots() {
		if states[s].Running != "" {
			return s.Other(), s
		}
	}
	for _, s := range layout.Slots() {
		if states[s].Link != "" {
			return s.Other(), s
		}
	}
	return layout.SlotA, layout.SlotB
}

// apiServer starts the first API server, or lets one of another version take
// over beside the old one: the new one must be ready before the old one gets
// no more connections, and the old one is stopped a moment later. Killed
// anywhere, it goes on from what runs.
func (c *cluster) apiServer(ctx context.Context, s plan.Step) error {
	h, m, err := c.target(s)
	if err != nil {
		return err
	}
	states, err := slotStates(ctx, h, apiServerRole)
	if err != nil {
		return err
	}
	want := plan.RoleState{Link: s.To.Kubernetes(), Running: s.To.Kubernetes(), Emulates: s.Emulate}
	to, from := chooseSlots(states, want)
	if err := c.renewCertificates(ctx, h, s.To.Kubernetes()); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx, h, m, to, want, states[to]); err != nil {
		return err
	}
	if states[from].Running == "" && states[from].Link == "" {
		return nil
	}
	return c.retireAPIServer(ctx, h, m, from)
}

// startAPIServer brings a slot to what it is to run, unless that runs and is ready.
func (c *cluster) startAPIServer(ctx context.Context, h machine.Host, m config.Machine, to layout.Slot, want, state plan.RoleState) error {
	v := want.Link
	if state != want {
		if err := c.renderRoleAs(ctx, h, m, v, to.APIServer, want.Emulates); err != nil {
			return err
		}
		// A drain that an interrupted run left would keep it without connections.
		if err := c.writeProxyConfig(ctx, h, m, nil); err != nil {
			return err
		}
		if err := moveAndRestart(ctx, h, to.APIServer, v); err != nil {
			return err
		}
	}
	return c.awaitRole(ctx, h, to.APIServer, v)
}

// retireAPIServer moves new connections away from a slot, then stops it for
// good: it does not start at the next boot, and its link is gone.
func (c *cluster) retireAPIServer(ctx context.Context, h machine.Host, m config.Machine, from layout.Slot) error {
	// The proxy asks by itself; one that has not yet seen the new server ready
	// would be left with none.
	if err := c.proxySees(ctx, h, from.Other()); err != nil {
		return err
	}
	if err := c.writeProxyConfig(ctx, h, m, &from); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, drainTime); err != nil {
		return err
	}
	if err := haltRole(ctx, h, from.APIServer); err != nil {
		return err
	}
	if err := c.writeProxyConfig(ctx, h, m, nil); err != nil {
		return err
	}
	return dropLink(ctx, h, from.APIServer)
}

// haltRole stops a role; it does not start at the next boot. Its link stays,
// by which a hand-over that is cut short here is seen to be unfinished.
func haltRole(ctx context.Context, h machine.Host, r plan.Role) error {
	// One that had to be killed counts as failed, which would trouble whoever
	// looks for failed units.
	_, err := sh(ctx, h, "systemctl --no-reload disable -q %[1]s\nsystemctl stop %[1]s\nsystemctl reset-failed %[1]s 2>/dev/null || :", layout.Unit(r))
	if err != nil {
		return fmt.Errorf("stop %s on %q: %w", r, h.Name(), err)
	}
	return nil
}

// dropLink is the last thing that is done to a slot that was given up: with
// its link nothing is left of it.
func dropLink(ctx context.Context, h machine.Host, r plan.Role) error {
	return h.Remove(ctx, layout.RoleLink(r))
}

// proxySees waits until a server was ready for as long as the proxy takes to
// count it in: two good checks, 200 ms apart while it is down. Where one of
// these hangs (up to 2 s), new connections wait at the proxy. A server that dies
// meanwhile is started again by its unit, and waited for.
func (c *cluster) proxySees(ctx context.Context, h machine.Host, s layout.Slot) error {
	const settle = 800 * time.Millisecond
	good := 0
	wait := poll.Wait{For: fmt.Sprintf("%s ready on %s for as long as the proxy takes to see it", s.APIServer, h.Name()), Timeout: healthTimeout, Every: settle}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if err := c.apiServerReady(ctx, h, s); err != nil {
			good = 0
			return false, err
		}
		good++
		return good == 2, nil
	})
}
