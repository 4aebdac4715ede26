package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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

// uncordon takes back a cordon that carries PAI's mark, and no other. Both go
// in one request, so that a cordon of an operator's that came in between is
// not taken for PAI's.
func (c *cluster) uncordon(ctx context.Context, s plan.Step) error {
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	nodes := k.Clientset().CoreV1().Nodes()
	node, err := nodes.Get(ctx, s.Target, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %q: %w", s.Target, err)
	}
	if node.Annotations[pai.AnnotationCordoned] == "" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": node.ResourceVersion, "annotations": map[string]any{pai.AnnotationCordoned: nil}},
		"spec":     map[string]any{"unschedulable": nil},
	})
	if err != nil {
		return err
	}
	if _, err := nodes.Patch(ctx, s.Target, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: pai.FieldManager}); err != nil {
		return fmt.Errorf("uncordon node %q: %w", s.Target, err)
	}
	return nil
}
