package cluster

import (
	"context"

	"pai.dev/pai/internal/plan"
)

// emulating are the flags of a control-plane program that behaves as an older
// upstream minor: what it stores and offers the old programs know as well, so
// that they can come back and nothing is lost.
func emulating(f flags, minor string) flags {
	if minor == "" {
		return f
	}
	return f.set("emulated-version", minor)
}

// commitSteps are a commit's parts, in the order in which they are done: the
// controllers must never be newer than the API that they talk to.
func commitSteps(s plan.Step) []plan.Step {
	var parts []plan.Step
	for _, r := range []plan.Role{"", plan.RoleControllerManager, plan.RoleScheduler} {
		part := s
		part.Role = r
		parts = append(parts, part)
	}
	return parts
}

// commitDone reports whether the API server, the controller manager and the
// scheduler of the version all run as themselves.
func (c *cluster) commitDone(ctx context.Context, s plan.Step) (bool, error) {
	for _, part := range commitSteps(s) {
		done := c.roleDone
		if part.Role == "" {
			done = c.apiServerDone
		}
		if ok, err := done(ctx, part); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// commit drops the emulation, which is the point of no return of a hop: an API
// server that behaves as its own version takes over as in any hand-over, and
// the controllers follow. Killed anywhere, it goes on from what runs.
func (c *cluster) commit(ctx context.Context, s plan.Step) error {
	for _, part := range commitSteps(s) {
		if part.Role == "" {
			if err := c.apiServer(ctx, part); err != nil {
				return err
			}
			continue
		}
		if ok, err := c.roleDone(ctx, part); err != nil {
			return err
		} else if ok {
			continue
		}
		if err := c.role(ctx, part); err != nil {
			return err
		}
	}
	return nil
}
