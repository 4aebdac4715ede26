package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/plan"
)

// drainer sees that no job is left on a machine. The guard has waited for the jobs, or
// the operator has accepted their end.
type drainer struct{ *cluster }

// Done asks the API and the machine: after a reboot, the API still has the pods that run
// nothing, and after an outage of the API, the machine still runs what it lacks. If the
// machine is unreachable, only the API knows. Its pods stay until the machine is back, so
// evicted ones do not count.
func (c drainer) Done(ctx context.Context, s plan.Step) (bool, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	pods, err := jobPods(ctx, k.Clientset(), s.Target)
	if err != nil {
		return false, err
	}
	h := c.Hosts[s.Target]
	if h == nil {
		pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	}
	if h == nil || len(pods) > 0 {
		return len(pods) == 0, nil
	}
	report, err := helper.Parts(ctx, h, inspect.Containers)
	if err != nil {
		return false, fmt.Errorf("list the containers of %q: %w", s.Target, err)
	}
	return !slices.ContainsFunc(report.Activity.Containers, inspect.Container.OfJob), nil
}

// Do evicts what the guard let go: nothing, unless the operator accepted it.
func (c drainer) Do(ctx context.Context, s plan.Step) error {
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	pods, err := jobPods(ctx, k.Clientset(), s.Target)
	if err != nil {
		return err
	}
	return evictPods(ctx, k.Clientset(), pods)
}
