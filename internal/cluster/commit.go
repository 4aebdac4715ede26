package cluster

import (
	"context"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// emulating adds the flag that makes a control-plane program behave as an older
// upstream minor. Then the older programs understand what it stores, and a
// rollback loses nothing.
func emulating(f flags, minor string) flags {
	if minor == "" {
		return f
	}
	return f.set("emulated-version", minor)
}

// commitSteps are the parts of a commit in order. The controllers must never be
// newer than the API server.
func commitSteps(s plan.Step) []plan.Step {
	var parts []plan.Step
	for _, r := range []plan.Role{"", plan.RoleControllerManager, plan.RoleScheduler} {
		part := s
		part.Role = r
		parts = append(parts, part)
	}
	return parts
}

// commitDone reports whether the API server, the controller manager, and the
// scheduler of the version run without emulation.
func (c *cluster) commitDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	for _, part := range commitSteps(s) {
		done := c.roleDone
		if part.Role == "" {
			done = c.apiServerDone
		}
		if ok, err := done(ctx, h, m, part); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// commit ends the emulation, which is the point of no return of a hop. An API
// server without emulation takes over as in any handover, and the controllers
// follow. If it is killed, the next run continues from what runs.
func (c *cluster) commit(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	for _, part := range commitSteps(s) {
		if part.Role == "" {
			if err := c.apiServer(ctx, h, m, part); err != nil {
				return err
			}
			continue
		}
		if ok, err := c.roleDone(ctx, h, m, part); err != nil {
			return err
		} else if ok {
			continue
		}
		if err := c.role(ctx, h, m, part); err != nil {
			return err
		}
	}
	return nil
}
