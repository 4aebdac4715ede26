package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
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
	want := plan.RoleState{Link: v, Running: v, Emulates: s.Emulate}
	var err error
	if want.Settings, err = c.nextSettings(ctx, h, m, v, r, s.Reserves()); err != nil {
		return want, err
	}
	want.Programs, err = programsIn(ctx, h, v, r)
	return want, err
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

// nextSettings is the digest of the settings that a role of a version has on a machine.
func (c *cluster) nextSettings(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, r plan.Role, reserve bool) (string, error) {
	files, err := c.roleFiles(ctx, h, m, v, r, renderOptions{reserve: reserve})
	if err != nil {
		return "", fmt.Errorf("render %s of Kubernetes %s for %q: %w", r, v, m.Hostname, err)
	}
	return settings(v, r, files).Digest(), nil
}

// programsIn is the digest of the programs of a role in the directory of a version
// on a machine. The planner chose the directory by the content of the bundle: a
// step needs no bundle to see whether a role runs what is there.
func programsIn(ctx context.Context, h machine.Host, v pai.KubernetesVersion, r plan.Role) (string, error) {
	report, err := helper.Parts(ctx, h, inspect.Programs)
	return fingerprint.Programs(r, report.Programs[string(v)]), err
}
