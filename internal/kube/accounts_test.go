package kube

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestAccountIsUsedWhileItsPodsAnswer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	pod := func(name, namespace, account string, phase corev1.PodPhase, end time.Time) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Spec: corev1.PodSpec{ServiceAccountName: account}, Status: corev1.PodStatus{Phase: phase}}
		if !end.IsZero() {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: end}, []string{"a/b"}
		}
		return p
	}
	client := fake.NewClientset(
		pod("runs", "a", "old", corev1.PodRunning, time.Time{}),
		pod("drains", "a", "old", corev1.PodRunning, now.Add(20*time.Second)),
		pod("is-late", "a", "old", corev1.PodRunning, now.Add(-5*time.Second)),
		pod("is-on-a-lost-machine", "a", "old", corev1.PodRunning, now.Add(-time.Minute)),
		pod("succeeded", "a", "old", corev1.PodSucceeded, time.Time{}),
		pod("failed", "a", "old", corev1.PodFailed, time.Time{}),
		pod("other-account", "a", "new", corev1.PodRunning, time.Time{}),
		pod("other-namespace", "b", "old", corev1.PodRunning, time.Time{}),
	)
	got, err := usersOf(t.Context(), client, Ref{Version: "v1", Kind: "ServiceAccount", Namespace: "a", Name: "old"}, now)
	if want := []string{"drains", "is-late", "runs"}; err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// Prune waits for the pods of an obsolete account, and reports which one it waits for.
func TestObsoleteAccountsWaitForTheirPods(t *testing.T) {
	t.Parallel()
	var reported []string
	client := fake.NewClientset(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "server", Namespace: "a"}, Spec: corev1.PodSpec{ServiceAccountName: "old"}})
	c := (&Client{clientset: client}).WithProgress(func(format string, args ...any) {
		reported = append(reported, args[1].(string))
		if err := client.CoreV1().Pods("a").Delete(t.Context(), "server", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	unwanted := []Ref{{Version: "v1", Kind: "ConfigMap", Namespace: "a", Name: "old"}, {Version: "v1", Kind: "ServiceAccount", Namespace: "a", Name: "old"}}
	if err := c.awaitUnused(t.Context(), unwanted); err != nil || !slices.Equal(reported, []string{"server"}) {
		t.Errorf("got %v, %v, want a wait for the pod", reported, err)
	}
}
