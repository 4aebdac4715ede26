package operation

import (
	"context"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// newGuard makes the guard that decides about the steps of one operation.
func newGuard(s *session.Session, accept []string) (*guard.Guard, error) {
	impacts, err := impactsOf(s)
	if err != nil {
		return nil, err
	}
	return guard.New(guard.LiveFacts{
		API:   func(ctx context.Context) (guard.API, error) { return s.Kube(ctx) },
		Hosts: s.Hosts, ControlPlanes: s.Config.ControlPlanes(),
		Files: func(ctx context.Context, step plan.Step) (map[string]string, error) { return filesOf(ctx, s, step) },
	}, impacts, accept)
}

// filesOf are the files that a step would write on its machine, which the guard
// compares with what runs.
func filesOf(ctx context.Context, s *session.Session, step plan.Step) (map[string]string, error) {
	bundle, err := bundleFor(s, step)
	if err != nil {
		return nil, err
	}
	deps := machineDeps(s)
	if bundle != nil {
		deps.Bundle = bundle
	}
	return cluster.Files(ctx, deps, step)
}

// impactsOf is what running jobs notice while a service is stopped, by service.
// A release whose bundle is not on this host has no step in any plan.
func impactsOf(s *session.Session) (map[string]pai.JobImpact, error) {
	found := map[string]pai.JobImpact{}
	for _, m := range s.Releases {
		b := s.OptionalBundle(m.Metadata.Name)
		if b == nil {
			continue
		}
		services, err := catalog(b)
		if err != nil {
			return nil, err
		}
		for _, sv := range services {
			found[sv.Name] = sv.Impact
		}
	}
	return found, nil
}

// askGuard is the stage that asks the guard about the steps that evict pods or
// stop what jobs read through: a step that is certain to be refused later is
// refused before anything is done. Steps in place are decided when their turn
// comes, from what runs on the machine then.
func (o *operation) askGuard(ctx context.Context) error {
	g, err := newGuard(o.Session, o.options.Accept)
	if err != nil {
		return err
	}
	if err := checkQuorumEarly(ctx, g, o.preview.Plan.Steps); err != nil {
		return err
	}
	for _, step := range o.preview.Plan.Steps {
		if !decidedEarly(step, o.preview.world) {
			continue
		}
		if err := g.Check(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// checkQuorumEarly asks the quorum rule for the first step that stops a control-plane
// machine, so that an operation that would stop there changes nothing. A step before it that
// starts a member, or gives members their votes, can repair the quorum: then only the step itself
// is asked for.
func checkQuorumEarly(ctx context.Context, g *guard.Guard, steps []plan.Step) error {
	for _, step := range steps {
		switch {
		case step.StartsMember(), step.Kind == plan.KindVoters:
			return nil
		case step.StopsControlPlane(), step.Kind == plan.KindRemoveVoter:
			return g.CheckQuorum(ctx, step)
		}
	}
	return nil
}

// decidedEarly excludes services while the API is unavailable: the jobs whose
// data they carry are unknown, and the steps before them might restore the API.
func decidedEarly(step plan.Step, world plan.World) bool {
	return step.Risk == pai.RiskEviction || (step.Kind.Traits().OfService && world.APIReachable)
}
