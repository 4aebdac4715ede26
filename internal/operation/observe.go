package operation

import (
	"context"

	"pai.dev/pai/internal/observe"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// Observe reads the state of the cluster.
func Observe(ctx context.Context, s *session.Session) (plan.World, error) {
	return newOperation(s).observe(ctx)
}

func (s *operation) observe(ctx context.Context) (plan.World, error) {
	w, err := observe.World(ctx, observe.Source{Config: s.Config, Hosts: s.Hosts, Kube: s.Kube})
	if err != nil {
		return w, err
	}
	if w.APIReachable {
		w.Unmigrated = s.unmigrated(ctx)
	}
	return w, s.dropUnrecordedCordons(ctx, &w)
}
