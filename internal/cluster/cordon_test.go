package cluster

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
)

// The annotation counts only if PAI set the field last.
func TestCordonedByPAI(t *testing.T) {
	t.Parallel()
	const cordon, other = `{"f:spec":{"f:unschedulable":{}}}`, `{"f:spec":{"f:podCIDR":{}}}`
	for name, c := range map[string]struct {
		unschedulable bool
		mark          string
		fields        map[string]string // manager → what it set
		want          string
	}{
		"PAI cordon":                 {true, "op-1", map[string]string{pai.FieldManager: cordon, "kubectl": other}, "op-1"},
		"operator cordon":            {true, "", map[string]string{"kubectl-cordon": cordon}, ""},
		"operator cordon, annotated": {true, "op-1", map[string]string{"kubectl-cordon": cordon, pai.FieldManager: other}, ""},
		"annotated, no manager":      {true, "op-1", nil, ""},
		"uncordoned":                 {false, "op-1", map[string]string{pai.FieldManager: cordon}, ""},
		"damaged managed fields":     {true, "op-1", map[string]string{pai.FieldManager: "{"}, ""},
	} {
		node := &corev1.Node{}
		node.Spec.Unschedulable = c.unschedulable
		node.Annotations = map[string]string{pai.AnnotationCordoned: c.mark}
		for manager, fields := range c.fields {
			node.ManagedFields = append(node.ManagedFields, metav1.ManagedFieldsEntry{Manager: manager, FieldsV1: metav1.NewFieldsV1(fields)})
		}
		if got := CordonedByPAI(node); got != c.want {
			t.Errorf("%s: cordoned by %q, want %q", name, got, c.want)
		}
	}
}
