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

// drainTime is the pause between the start of a drain and the stop of the API
// server. The proxy reads its configuration every 200 ms, and a stopping API
// server finishes the requests that it has.
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
	roles, err := roleStates(ctx, h, role(layout.SlotA), role(layout.SlotB))
	return map[layout.Slot]plan.RoleState{layout.SlotA: roles[role(layout.SlotA)], layout.SlotB: roles[role(layout.SlotB)]}, err
}

func apiServerRole(s layout.Slot) plan.Role { return s.APIServer }

func (c *cluster) apiServerDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	states, err := slotStates(ctx, h, apiServerRole)
	if err != nil {
		return false, err
	}
	slot, ok, err := c.onlySlot(ctx, h, m, s, states, apiServerRole)
	return ok && c.apiServerReady(ctx, h, slot) == nil, err
}

// onlySlot is the slot that alone has the state that a step leads to, if one has.
func (c *cluster) onlySlot(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, states map[layout.Slot]plan.RoleState,
	role func(layout.Slot) plan.Role) (layout.Slot, bool, error) {
	for _, slot := range layout.Slots() {
		if other := states[slot.Other()]; other.Running != "" || other.Link != "" {
			continue
		}
		if ok, err := c.fulfilled(ctx, h, m, s, role(slot), states[slot]); err != nil || ok {
			return slot, ok, err
		}
	}
	return layout.Slot{}, false, nil
}

// chooseSlots returns the slot that is to run something, and the other one. It
// is the slot that already moves there, else the idle one. A stopped slot that
// still has its link is idle: neither a new version nor new settings go into the
// slot that serves.
func chooseSlots(states, want map[layout.Slot]plan.RoleState) (to, from layout.Slot) {
	for _, s := range layout.Slots() {
		if states[s].Link == want[s].Link && states[s].Emulates == want[s].Emulates && states[s].Matches(want[s].Digests) {
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

// apiServer starts the first API server, or hands over to one of another
// version. The new one must be ready before the old one drains; then the old one
// stops. If it is killed, the next run continues from what runs.
func (c *cluster) apiServer(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	if err := checkReconciled(ctx, h); err != nil {
		return err
	}
	states, err := slotStates(ctx, h, apiServerRole)
	if err != nil {
		return err
	}
	want, err := c.wantSlots(ctx, h, m, s, apiServerRole)
	if err != nil {
		return err
	}
	to, from := chooseSlots(states, want)
	if err := c.renewCertificates(ctx, h); err != nil {
		return err
	}
	if err := c.startAPIServer(ctx, h, m, to, want[to], states[to]); err != nil {
		return err
	}
	if states[from].Running == "" && states[from].Link == "" {
		return nil
	}
	return c.drainAndRemoveAPIServer(ctx, h, m, from)
}

// startAPIServer starts a version in a slot, unless it already runs there.
func (c *cluster) startAPIServer(ctx context.Context, h machine.Host, m config.Machine, to layout.Slot, want, state plan.RoleState) error {
	v := want.Link
	if !fulfills(state, want) {
		if err := c.renderRoleAs(ctx, h, m, v, to.APIServer, want.Emulates); err != nil {
			return err
		}
		// An interrupted run can leave a drain, which would keep connections out.
		if err := c.writeProxyConfig(ctx, h, m, nil); err != nil {
			return err
		}
		if err := moveAndRestart(ctx, h, to.APIServer, v); err != nil {
			return err
		}
	}
	return c.awaitRole(ctx, h, to.APIServer, v)
}

// drainAndRemoveAPIServer drains a slot, stops its API server, and removes its
// link, so that it does not start at the next boot.
func (c *cluster) drainAndRemoveAPIServer(ctx context.Context, h machine.Host, m config.Machine, from layout.Slot) error {
	// Without this wait the proxy might not have found the new server ready, and
	// would be left with none.
	if err := c.awaitProxy(ctx, h, from.Other()); err != nil {
		return err
	}
	if err := c.writeProxyConfig(ctx, h, m, &from); err != nil {
		return err
	}
	if err := poll.Sleep(ctx, drainTime); err != nil {
		return err
	}
	if err := stopRole(ctx, h, from.APIServer); err != nil {
		return err
	}
	if err := c.writeProxyConfig(ctx, h, m, nil); err != nil {
		return err
	}
	return removeLink(ctx, h, from.APIServer)
}

// stopRole stops a role, which then does not start at the next boot. Its link
// stays: it marks a handover as unfinished.
func stopRole(ctx context.Context, h machine.Host, r plan.Role) error {
	// A killed unit counts as failed, and would be listed by systemctl --failed.
	_, err := sh(ctx, h, "SYSTEMD_OFFLINE=1 systemctl disable -q %[1]s\nsystemctl stop %[1]s\nsystemctl reset-failed %[1]s 2>/dev/null || :", layout.Unit(r))
	if err != nil {
		return fmt.Errorf("stop %s on %q: %w", r, h.Name(), err)
	}
	return nil
}

// removeLink is the last step of the removal of a slot. While the link exists,
// the removal counts as unfinished.
func removeLink(ctx context.Context, h machine.Host, r plan.Role) error {
	return h.Remove(ctx, layout.RoleLink(r))
}

// awaitProxy waits until a server was ready for as long as the proxy needs to
// use it: two successful checks, 200 ms apart. If a check hangs (up to 2 s), new
// connections wait at the proxy. If the server ends meanwhile, its unit starts it
// again.
func (c *cluster) awaitProxy(ctx context.Context, h machine.Host, s layout.Slot) error {
	const settle = 800 * time.Millisecond
	good := 0
	wait := poll.Wait{For: fmt.Sprintf("%s ready on %s and used by the proxy", s.APIServer, h.Name()), Timeout: healthTimeout, Every: settle}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if err := c.apiServerReady(ctx, h, s); err != nil {
			good = 0
			return false, err
		}
		good++
		return good == 2, nil
	})
}
