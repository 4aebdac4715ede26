//go:build e2e

package cluster

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/kubetest"
)

// TestEvictJobs ends the pods of jobs on one machine, and nothing else. Their
// jobs can distinguish that from a failure: Kubernetes marks the pods as disrupted.
func TestEvictJobs(t *testing.T) {
	core := kubetest.Start(t).Client.Clientset()
	ctx := t.Context()
	if _, err := core.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods := core.CoreV1().Pods("default")
	for name, c := range map[string]struct{ machine, job string }{"here": {"gpu-01", "train"}, "there": {"gpu-02", "train"}, "service": {"gpu-01", ""}} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}},
			Spec: corev1.PodSpec{NodeName: c.machine, Containers: []corev1.Container{{Name: "main", Image: "x"}}}}
		if c.job != "" {
			p.Labels[pai.LabelJob] = c.job
		}
		p, err := pods.Create(ctx, p, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Status.Phase = corev1.PodRunning // only a running pod gets a grace period
		if _, err := pods.UpdateStatus(ctx, p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- EvictJobs(ctx, core, "gpu-01") }()

	// The pod stays until its kubelet, which is this test, says that it has ended.
	var ending *corev1.Pod
	for deadline := time.Now().Add(20 * time.Second); ending == nil || ending.DeletionTimestamp == nil; time.Sleep(100 * time.Millisecond) {
		var err error
		if ending, err = pods.Get(ctx, "here", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the pod was not asked to end: %+v", ending.Status)
		}
	}
	disrupted := false
	for _, c := range ending.Status.Conditions {
		disrupted = disrupted || (c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue)
	}
	if !disrupted {
		t.Errorf("the pod is not marked as disrupted, so its task counts as failed: %+v", ending.Status.Conditions)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the pod's end: %v", err)
	case <-time.After(2 * time.Second):
	}
	now := int64(0)
	if err := pods.Delete(ctx, "here", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	list, err := pods.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 2 {
		t.Errorf("%d pods are left, want those there and service", len(list.Items))
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp != nil {
			t.Errorf("pod %s was asked to end as well", p.Name)
		}
	}
}
