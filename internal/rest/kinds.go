package rest

import (
	"context"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/job"
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
		nodes, err := c.cluster.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return kindsOf{}, apiError("list the machines", err)
		}
		found := kindsOf{kinds: job.Kinds(nodes.Items)}
		if !slices.Contains(c.virtualClusters, vc) {
			return found, nil // the job is refused for its virtual cluster
		}
		queue, err := c.queueOf(ctx, vc)
		if err != nil {
			return kindsOf{}, apiError("read the quota of virtual cluster "+vc, err)
		}
		if queue != nil {
			found.gpus = quotaOfQueue(queue).GPU
		}
		return found, nil
	})
	return found.kinds, found.gpus, err
}

// forKinds names the kinds of machines that a job waits for; empty if it takes any.
func forKinds(kinds []string) string {
	if len(kinds) == 0 {
		return ""
	}
	return " for machines of the kind " + strings.Join(kinds, " and ")
}
