package kube

import (
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"

	"pai.dev/pai/internal/pai"
)

func rolloutNode(name string, marks ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
	for _, m := range marks {
		n.Annotations[m] = "x"
	}
	return n
}

// daemonPod is a pod of the DaemonSet on a machine: ready, not ready, or ending.
func daemonPod(machine, hash, state string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: owned("exporter-"+machine, "p", "s"), Spec: corev1.PodSpec{NodeName: machine}}
	p.Labels[appsv1.ControllerRevisionHashLabelKey] = hash
	status := corev1.ConditionTrue
	switch state {
	case "not ready":
		status = corev1.ConditionFalse
	case "ending":
		p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, []string{"x"}
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	return p
}

// daemonSet is on three machines and updates one at a time.
func daemonSet(observed int64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "DaemonSet",
		"metadata": map[string]any{"name": "exporter", "namespace": system, "uid": "s", "generation": int64(3)},
		"spec":     map[string]any{"updateStrategy": map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxUnavailable": "10%"}}},
		"status":   map[string]any{"observedGeneration": observed, "desiredNumberScheduled": int64(3)}}}
}

// A DaemonSet is ready without a machine in maintenance, but not without any other one. Its
// controller counts that machine and stops, so PAI continues, one machine at a time.
func TestRolloutBesideMaintenance(t *testing.T) {
	t.Parallel()
	off := rolloutNode("m3", pai.AnnotationMaintenance, pai.AnnotationInMaintenance)
	for name, c := range map[string]struct {
		node     *corev1.Node // m3
		pods     []*corev1.Pod
		observed int64
		ready    bool
		replaced []string
	}{
		"in maintenance, off":           {off, []*corev1.Pod{daemonPod("m1", "new", ""), daemonPod("m2", "new", ""), daemonPod("m3", "old", "not ready")}, 3, true, nil},
		"not in maintenance":            {rolloutNode("m3"), []*corev1.Pod{daemonPod("m1", "old", ""), daemonPod("m2", "new", ""), daemonPod("m3", "old", "not ready")}, 3, false, nil},
		"only cordoned for maintenance": {rolloutNode("m3", pai.AnnotationMaintenance), []*corev1.Pod{daemonPod("m1", "new", ""), daemonPod("m2", "new", ""), daemonPod("m3", "old", "not ready")}, 3, false, nil},
		"not seen by its controller":    {off, []*corev1.Pod{daemonPod("m1", "old", ""), daemonPod("m2", "old", ""), daemonPod("m3", "old", "not ready")}, 2, false, nil},
		"blocked by the machine":        {off, []*corev1.Pod{daemonPod("m1", "old", ""), daemonPod("m2", "old", ""), daemonPod("m3", "old", "ending")}, 3, false, []string{"m1"}},
		"one left":                      {off, []*corev1.Pod{daemonPod("m1", "new", ""), daemonPod("m2", "old", ""), daemonPod("m3", "new", "not ready")}, 3, false, []string{"m2"}},
		"another machine is not ready":  {off, []*corev1.Pod{daemonPod("m1", "new", "not ready"), daemonPod("m2", "old", ""), daemonPod("m3", "new", "not ready")}, 3, false, nil},
		"another machine has no pod":    {off, []*corev1.Pod{daemonPod("m2", "old", ""), daemonPod("m3", "new", "not ready")}, 3, false, nil},
		"the machine is on":             {off, []*corev1.Pod{daemonPod("m1", "old", ""), daemonPod("m2", "old", ""), daemonPod("m3", "old", "")}, 3, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			revision := func(name, hash string, revision int64) *appsv1.ControllerRevision {
				r := &appsv1.ControllerRevision{ObjectMeta: owned(name, "", "s"), Revision: revision}
				r.Labels[appsv1.ControllerRevisionHashLabelKey] = hash
				return r
			}
			strange := revision("of-another-set", "strange", 9)
			strange.OwnerReferences[0].UID = "s2"
			core := fake.NewClientset(rolloutNode("m1"), rolloutNode("m2"), c.node, revision("a", "new", 4), revision("b", "old", 2), strange)
			for _, p := range c.pods {
				if err := core.Tracker().Add(p); err != nil {
					t.Fatal(err)
				}
			}
			client := &Client{clientset: core, progress: t.Logf, retryTimeout: time.Second}
			r, err := client.rolloutOf(t.Context(), daemonSet(c.observed))
			if err != nil || r.ready != c.ready {
				t.Errorf("got ready %v, %v, want %v", r.ready, err, c.ready)
			}
			if err := client.replaceBeside(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			var replaced []string
			for _, p := range c.pods {
				if _, err := core.Tracker().Get(corev1.SchemeGroupVersion.WithResource("pods"), system, p.Name); err != nil {
					replaced = append(replaced, p.Spec.NodeName)
				}
			}
			if !slices.Equal(replaced, c.replaced) {
				t.Errorf("got the pods of %v replaced, want %v", replaced, c.replaced)
			}
		})
	}
}

// What allows no rollout, or has no revision yet, is left to its controller.
func TestRolloutIsLeftToItsController(t *testing.T) {
	t.Parallel()
	pods := []corev1.Pod{*daemonPod("m1", "old", ""), *daemonPod("m2", "not ready", "")}
	set := &appsv1.DaemonSet{ObjectMeta: owned("exporter", "s", ""), Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 2}}
	set.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType
	left := map[string]bool{"m2": true}
	if r := beside(set, "new", pods, left); r.ready || len(r.blocked) > 0 {
		t.Errorf("got %+v for a DaemonSet that is updated by hand", r)
	}
	if r := beside(set, templateOf(set, nil), pods, left); r.ready || len(r.blocked) > 0 {
		t.Errorf("got %+v without a revision", r)
	}
}
