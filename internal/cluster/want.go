package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// fulfilled reports whether a role has the state that a step leads to. Nothing is
// rendered for a role of another version, whose programs might not be there yet.
func (c *cluster) fulfilled(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, r plan.Role, state plan.RoleState) (bool, error) {
	if v := s.To.Kubernetes(); state.Link != v || state.Running != v || state.Emulates != s.Emulate {
		return false, nil
	}
	want, err := c.want(ctx, h, m, s, r)
	return err == nil && fulfills(state, want), err
}

// want is the state of a role after a step.
func (c *cluster) want(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, r plan.Role) (plan.RoleState, error) {
	v := s.To.Kubernetes()
	digests, err := c.digests(ctx, h, m, v, r)
	return plan.RoleState{Link: v, Running: v, Emulates: s.Emulate, Digests: digests}, err
}

// wantSlots is want for both slots of a role. One of them has that state after the
// step.
func (c *cluster) wantSlots(ctx context.Context, h machine.Host, m config.Machine, s plan.Step, role func(layout.Slot) plan.Role) (map[layout.Slot]plan.RoleState, error) {
	states := map[layout.Slot]plan.RoleState{}
	for _, slot := range layout.Slots() {
		state, err := c.want(ctx, h, m, s, role(slot))
		if err != nil {
			return nil, err
		}
		states[slot] = state
	}
	return states, nil
}

// fulfills reports whether a role has a state.
func fulfills(state, want plan.RoleState) bool {
	return state.Link == want.Link && state.Running == want.Running && state.Emulates == want.Emulates && state.Matches(want.Digests)
}

// startedAs reports whether a role runs a version that was started with the files
// on the disk.
func startedAs(state plan.RoleState, v pai.KubernetesVersion) bool {
	return state.Link == v && state.Running == v && state.Settings != ""
}

// digests are what a role of a version is made of on a machine. The programs are
// known if this host has the bundle.
func (c *cluster) digests(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role) (plan.Digests, error) {
	files, err := c.roleFiles(ctx, h, m, v, r, "")
	if err != nil {
		return plan.Digests{}, fmt.Errorf("render %s of Kubernetes %s for %q: %w", r, v, m.Hostname, err)
	}
	d := plan.Digests{Settings: settings(v, r, files).Digest()}
	if c.Bundle == nil || checkBundle(c.Bundle, v) != nil {
		return d, nil
	}
	programs, err := c.Bundle.ProgramDigests(ctx)
	if err != nil {
		return d, err
	}
	d.Programs = fingerprint.Programs(r, programs)
	return d, nil
}
