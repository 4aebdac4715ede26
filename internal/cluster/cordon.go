package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// CordonedByPAI is the operation that cordoned a node. It is empty if PAI did
// not cordon it, or if the operator has cordoned it again since. The annotation
// alone is no proof: an operator who removes the PAI cordon and adds a new one
// leaves it. So the managed fields decide who set the field last.
func CordonedByPAI(node *corev1.Node) string {
	if node.Spec.Unschedulable && setBy(node, pai.FieldManager) {
		return node.Annotations[pai.AnnotationCordoned]
	}
	return ""
}

// setBy reports whether a manager was the last to change spec.unschedulable.
func setBy(node *corev1.Node, manager string) bool {
	for _, entry := range node.ManagedFields {
		if entry.Manager != manager || entry.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Spec struct {
				Unschedulable *struct{} `json:"f:unschedulable"`
			} `json:"f:spec"`
		}
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err == nil && fields.Spec.Unschedulable != nil {
			return true
		}
	}
	return false
}

// Cordon cordons a machine for an operation. It reports false if the machine is
// already cordoned, or has no node.
func Cordon(ctx context.Context, core kubernetes.Interface, name, operation string) (cordoned bool, err error) {
	err = kube.PatchNode(ctx, core, name, func(node *corev1.Node) map[string]any {
		if cordoned = !node.Spec.Unschedulable; !cordoned {
			return nil
		}
		return map[string]any{
			"metadata": map[string]any{"annotations": map[string]any{pai.AnnotationCordoned: operation}},
			"spec":     map[string]any{"unschedulable": true},
		}
	})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cordon node %q: %w", name, err)
	}
	return cordoned, nil
}

// Uncordon removes the cordon of PAI. If an operator has cordoned the node
// since, it removes only the annotation.
func Uncordon(ctx context.Context, core kubernetes.Interface, name string) error {
	err := kube.PatchNode(ctx, core, name, func(node *corev1.Node) map[string]any {
		if node.Annotations[pai.AnnotationCordoned] == "" {
			return nil
		}
		patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{pai.AnnotationCordoned: nil}}}
		if CordonedByPAI(node) != "" {
			patch["spec"] = map[string]any{"unschedulable": nil}
		}
		return patch
	})
	if err != nil {
		return fmt.Errorf("uncordon node %q: %w", name, err)
	}
	return nil
}

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
