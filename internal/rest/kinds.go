package rest

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// kindsOf is what a job that chooses a kind of machine is checked against.
type kindsOf struct {
	kinds []job.Kind
	gpus  int64 // of the quota of the virtual cluster; 0 is unknown
}

// kinds returns the kinds of machines, and how many GPUs a virtual cluster can use.
func (c *Core) kinds(ctx context.Context, vc string) ([]job.Kind, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := reading(ctx, func(ctx context.Context) (kindsOf, error) {
		kinds, err := c.machineKinds(ctx)
		if err != nil {
			return kindsOf{}, err
		}
		found := kindsOf{kinds: kinds}
		if !slices.Contains(c.virtualClusters, vc) {
			return found, nil // the job is refused for its virtual cluster
		}
		quotas, err := c.quotas(ctx)
		found.gpus = quotas[gpuResource].most(vc) // with what it can borrow
		return found, err
	})
	return found.kinds, found.gpus, err
}

// Kinds implements ClusterAPI.
func (c *Core) Kinds(ctx context.Context) ([]job.Kind, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, c.machineKinds)
}

func (c *Core) machineKinds(ctx context.Context) ([]job.Kind, error) {
	var machines []corev1.Node // with what their kind depends on
	err := c.eachMachine(ctx, func(n *corev1.Node) {
		machine := corev1.Node{Status: corev1.NodeStatus{Capacity: n.Status.Capacity, Allocatable: n.Status.Allocatable}}
		machine.Name, machine.Labels = n.Name, map[string]string{pai.LabelMachineSKU: n.Labels[pai.LabelMachineSKU]}
		machine.Annotations = map[string]string{pai.AnnotationMachineGPUs: n.Annotations[pai.AnnotationMachineGPUs]}
		machines = append(machines, machine)
	})
	if err != nil {
		return nil, apiError("list the machines", err)
	}
	return job.Kinds(machines), nil
}

// forKinds names the kinds of machines that a job waits for; empty if it takes any.
func forKinds(kinds []string) string {
	if len(kinds) == 0 {
		return ""
	}
	return " for machines of the kind " + strings.Join(kinds, " and ")
}
