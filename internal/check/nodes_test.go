package check

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/config"
)

// A node that is not in the layout, for example of a machine that was removed and switched
// off, stops no upgrade: another check reports it.
func TestOnlyNodesOfTheLayoutMustBeReady(t *testing.T) {
	t.Parallel()
	node := func(name string, ready corev1.ConditionStatus) corev1.Node {
		return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}}}
	}
	w := &world{Input: Input{Config: &config.Config{Layout: config.Layout{MachineList: []config.Machine{{Hostname: "gpu-01"}, {Hostname: "gpu-02"}}}}}}
	w.api.nodes = observe(t.Context(), func(context.Context) ([]corev1.Node, error) {
		return []corev1.Node{node("gpu-01", corev1.ConditionTrue), node("gpu-02", corev1.ConditionFalse), node("gpu-09", corev1.ConditionUnknown)}, nil
	})
	results, err := nodesReady(t.Context(), w)
	if err != nil || len(results) != 2 || results[0].Outcome != OK || results[1].Outcome != Failed || results[1].Target != "gpu-02" {
		t.Errorf("got %+v, %v, want gpu-01 ready, and gpu-02 not", results, err)
	}
}
