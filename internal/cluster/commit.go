package cluster

import (
	"context"

	"golang.org/x/sync/errgroup"

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

// commitSteps are the parts of a commit: first the API server, and then the
// controllers, which must never be newer. Of several control-plane machines, each has a
// commit for its API server, and steps for its controllers after the last of these.
func commitSteps(s plan.Step) (apiServer plan.Step, controllers []plan.Step) {
	if s.Target != "" {
		return s, nil
	}
	for _, r := range []plan.Role{plan.RoleControllerManager, plan.RoleScheduler} {
		part := s
		part.Role = r
		controllers = append(controllers, part)
	}
	return s, controllers
}

// commitDone reports whether the API server, the controller manager, and the
// scheduler of the version run without emulation.
func (c *cluster) commitDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	apiServer, controllers := commitSteps(s)
	if ok, err := c.apiServerDone(ctx, h, m, apiServer); err != nil || !ok {
		return false, err
	}
	for _, part := range controllers {
		if ok, err := c.roleDone(ctx, h, m, part); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// commit ends the emulation, which is the point of no return of a hop. An API
// server without emulation takes over as in any handover, and both controllers
// follow. If it is killed, the next run continues from what runs.
func (c *cluster) commit(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	apiServer, controllers := commitSteps(s)
	if err := c.apiServer(ctx, h, m, apiServer); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range controllers {
		group.Go(func() error {
			if ok, err := c.roleDone(ctx, h, m, part); err != nil || ok {
				return err
			}
			return c.role(ctx, h, m, part)
		})
	}
	return group.Wait()
}
