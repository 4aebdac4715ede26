package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/pai"
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
	return c.isDrained(ctx, s.Target)
}

func (c *cluster) isDrained(ctx context.Context, name string) (bool, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	pods, err := jobPods(ctx, k.Clientset(), name)
	if err != nil {
		return false, err
	}
	h := c.Hosts[name]
	if h == nil {
		pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	}
	if h == nil || len(pods) > 0 {
		return len(pods) == 0, nil
	}
	report, err := helper.Parts(ctx, h, inspect.Containers)
	if err != nil {
		return false, fmt.Errorf("list the containers of %q: %w", name, err)
	}
	return !slices.ContainsFunc(report.Activity.Containers, inspect.Container.OfJob), nil
}

// Do evicts what the guard let go, if the operator accepted that. A pod can be bound to the
// machine right after its cordon, and after the guard looked.
func (c drainer) Do(ctx context.Context, s plan.Step) error {
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	pods, err := jobPods(ctx, k.Clientset(), s.Target)
	if err != nil {
		return err
	}
	if len(pods) > 0 && (c.EndsJobs == nil || !c.EndsJobs(s.Target)) {
		return startedMeanwhile(s.Target)
	}
	return evictPods(ctx, k.Clientset(), pods)
}

// startedMeanwhile is the error of a step that found a job which started after the guard
// had looked.
func startedMeanwhile(name string) error {
	return pai.Errorf(pai.CodeFailed, "run the same command again: it names the job and waits for it", "a job started on %s right before its cordon", name)
}
