package kube

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"pai.dev/pai/internal/pai"
)

// A DaemonSet is ready without a machine in maintenance, but not without any other one.
func TestDaemonSetIsReadyBesideMaintenance(t *testing.T) {
	t.Parallel()
	node := func(name string, marks ...string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}}}
		for _, m := range marks {
			n.Annotations[m] = "x"
		}
		return n
	}
	pod := func(machine, generation string, ready corev1.ConditionStatus) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: owned("exporter-"+machine, "p", "s"), Spec: corev1.PodSpec{NodeName: machine}}
		p.Labels[templateGeneration] = generation
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
		return p
	}
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	off := node("m2", pai.AnnotationMaintenance, pai.AnnotationInMaintenance)
	for name, c := range map[string]struct {
		node     *corev1.Node // m2
		m1, m2   *corev1.Pod
		observed int64
		want     bool
	}{
		"in maintenance, off":           {off, pod("m1", "3", yes), pod("m2", "2", no), 3, true},
		"not in maintenance":            {node("m2"), pod("m1", "3", yes), pod("m2", "2", no), 3, false},
		"only cordoned for maintenance": {node("m2", pai.AnnotationMaintenance), pod("m1", "3", yes), pod("m2", "2", no), 3, false},
		"another machine is not ready":  {off, pod("m1", "3", no), pod("m2", "3", yes), 3, false},
		"another machine has the old":   {off, pod("m1", "2", yes), pod("m2", "3", no), 3, false},
		"not seen by its controller":    {off, pod("m1", "3", yes), pod("m2", "2", no), 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := &Client{clientset: fake.NewClientset(node("m1"), c.node, c.m1, c.m2), progress: t.Logf, retryTimeout: time.Second}
			set := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "DaemonSet",
				"metadata": map[string]any{"name": "exporter", "namespace": system, "uid": "s", "generation": int64(3),
					"annotations": map[string]any{"deprecated.daemonset.template.generation": "3"}},
				"status": map[string]any{"observedGeneration": c.observed, "desiredNumberScheduled": int64(2)}}}
			if got, err := client.readyElsewhere(t.Context(), set); err != nil || got != c.want {
				t.Errorf("got ready %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

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
