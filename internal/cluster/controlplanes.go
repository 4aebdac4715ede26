package cluster

import (
	"context"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// severalControlPlanes is the doer of the steps that only a cluster with several
// control-plane machines has.
type severalControlPlanes struct{}

func (severalControlPlanes) Done(context.Context, plan.Step) (bool, error) { return false, nil }

func (severalControlPlanes) Do(_ context.Context, s plan.Step) error {
	return pai.Errorf(pai.CodeRefused, "set k8s-role: master for one machine in layout.yaml",
		"step %s is for several control-plane machines, which this release does not support", s.ID)
}
