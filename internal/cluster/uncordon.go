package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// uncordoner needs only the API: its machine can be unreachable.
type uncordoner struct{ *cluster }

func (c uncordoner) Done(ctx context.Context, s plan.Step) (bool, error) {
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

func (c uncordoner) Do(ctx context.Context, s plan.Step) error {
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	return Uncordon(ctx, k.Clientset(), s.Target)
}
