package guard

import (
	"context"
	"slices"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/etcd"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// Voters asks the machine of a step whether its etcd runs and, if it does, all
// control-plane machines in parallel. It asks nothing about other machines, and nothing if
// there is one control-plane machine. Of a member that is to be removed, the machine is lost.
func (l LiveFacts) Voters(ctx context.Context, step plan.Step) Fact[Voters] {
	if step.Kind == plan.KindRemoveVoter {
		ctx, cancel := within(ctx, "ask the voters of etcd")
		defer cancel()
		return Known(Voters{State: new(etcd.Certificates).Survey(ctx, l.ControlPlanes, l.Hosts)})
	}
	isTarget := func(m config.Machine) bool { return m.Hostname == step.Target }
	if len(l.ControlPlanes) < 2 || !slices.ContainsFunc(l.ControlPlanes, isTarget) {
		return Known(Voters{})
	}
	ctx, cancel := within(ctx, "ask the voters of etcd")
	defer cancel()
	host, err := l.host(step.Target)
	if err != nil {
		return Unknown[Voters](err)
	}
	runs, err := etcdRuns(ctx, host)
	if err != nil {
		return Unknown[Voters](err)
	}
	if !runs {
		return Known(Voters{})
	}
	return Known(Voters{Stops: true, State: new(etcd.Certificates).Survey(ctx, l.ControlPlanes, l.Hosts)})
}

func etcdRuns(ctx context.Context, host machine.Host) (bool, error) {
	roles := []layout.Role{layout.RoleEtcdA, layout.RoleEtcdB}
	report, err := helper.Inspect(ctx, host, inspect.Request{Parts: []inspect.Part{inspect.Roles}, Only: roles}, inspect.Roles)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(roles, func(r layout.Role) bool { return report.Roles[r].Program != "" }), nil
}
