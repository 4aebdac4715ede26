package kube

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

func TestAccountIsUsedWhileItsPodsAnswer(t *testing.T) {
	t.Parallel()
	pod := func(name, namespace, account string, phase corev1.PodPhase, grace *int64) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID(name)}, Spec: corev1.PodSpec{ServiceAccountName: account}, Status: corev1.PodStatus{Phase: phase}}
		if grace != nil { // what another clock says does not count
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds, p.Finalizers = &metav1.Time{Time: time.Unix(1, 0)}, grace, []string{"a/b"}
		}
		return p
	}
	client := fake.NewClientset(
		pod("runs", "a", "old", corev1.PodRunning, nil),
		pod("drains", "a", "old", corev1.PodRunning, new(int64(40))),
		pod("killed", "a", "old", corev1.PodRunning, new(int64(0))),
		pod("succeeded", "a", "old", corev1.PodSucceeded, nil),
		pod("failed", "a", "old", corev1.PodFailed, nil),
		pod("other-account", "a", "new", corev1.PodRunning, nil),
		pod("other-namespace", "b", "old", corev1.PodRunning, nil),
	)
	u := users{account: Ref{Version: "v1", Kind: "ServiceAccount", Namespace: "a", Name: "old"}, since: map[types.UID]time.Time{}}
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{0, []string{"drains", "killed", "runs"}},
		{10 * time.Second, []string{"drains", "killed", "runs"}},
		{11 * time.Second, []string{"drains", "runs"}},
		{50 * time.Second, []string{"drains", "runs"}},
		{51 * time.Second, []string{"runs"}},
	} {
		if got, _, err := u.names(t.Context(), client, now.Add(c.after)); err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), c.want) {
			t.Errorf("after %s: got %v, %v, want %v", c.after, got, err, c.want)
		}
	}
}

// Prune waits for the pods of an obsolete account, and reports which one it waits for.
func TestObsoleteAccountsWaitForTheirPods(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
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
	})
}
