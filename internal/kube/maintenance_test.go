package kube

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

// Only the pods of Deployments that PAI applied leave the machine: not those of a
// DaemonSet, of a job, or of other workloads.
func TestMovePodsEvictsPodsOfServices(t *testing.T) {
	t.Parallel()
	core, refs := workloads()
	objects, err := json.Marshal(refs)
	if err != nil {
		t.Fatal(err)
	}
	inventory := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: inventoryPrefix + "service-kueue",
		Labels: map[string]string{inventoryLabel: "service-kueue"}}, Data: map[string]string{keyObjects: string(objects), keyState: InventoryApplied}}
	if err := core.Tracker().Add(inventory); err != nil {
		t.Fatal(err)
	}
	var evicted []string
	core.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "eviction" {
			return false, nil, nil
		}
		name := a.(clienttesting.CreateAction).GetObject().(*policyv1.Eviction).Name
		evicted = append(evicted, name)
		return true, nil, core.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), system, name)
	})
	client := &Client{clientset: core, progress: t.Logf, retryTimeout: time.Second}
	if err := client.MovePods(t.Context(), "m1", false); err != nil || len(evicted) > 0 {
		t.Errorf("got %v evicted, %v, want none without another machine", evicted, err)
	}
	other := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m3"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
	if err := core.Tracker().Add(other); err != nil {
		t.Fatal(err)
	}
	if err := client.MovePods(t.Context(), "m2", false); err != nil || len(evicted) > 0 {
		t.Errorf("got %v evicted, %v, want none of another machine", evicted, err)
	}
	if err := client.MovePods(t.Context(), "m1", false); err != nil || len(evicted) != 1 || evicted[0] != "kueue-1-a" {
		t.Errorf("got %v evicted, %v, want only the pod of the Deployment", evicted, err)
	}
}
