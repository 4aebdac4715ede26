package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func (c *cluster) uncordonDone(ctx context.Context, s plan.Step) (bool, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	node, err := k.Clientset().CoreV1().Nodes().Get(ctx, s.Target, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("read node %q: %w", s.Target, err)
	}
	return node.Annotations[pai.AnnotationCordoned] == "", nil
}

func (c *cluster) uncordon(ctx context.Context, s plan.Step) error {
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	return Uncordon(ctx, k.Clientset(), s.Target)
}
