package kube

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"pai.dev/pai/internal/pai"
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

// CoreDNS ignores cordons: one on another cordoned machine is as good. It would come back
// unless it avoids machines in maintenance, so it is left to its rollout, and if that takes
// too long, it stays.
func TestMovePodsThatIgnoreCordons(t *testing.T) {
	t.Parallel()
	everything := []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	avoids := &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: pai.LabelMaintenance, Operator: corev1.NodeSelectorOpDoesNotExist}}}}}}}
	for name, c := range map[string]struct {
		spec                 corev1.PodSpec
		cordoned, maintained bool // the other machine
		rolledOut            bool // the rollout replaces the pod after a while
		evicted              int
		stays                bool
		waits                time.Duration
	}{
		"a pod that avoids maintenance":             {corev1.PodSpec{Tolerations: everything, Affinity: avoids}, false, false, false, 1, false, time.Second},
		"the other machine is cordoned":             {corev1.PodSpec{Tolerations: everything, Affinity: avoids}, true, false, false, 1, false, time.Second},
		"the other machine is in maintenance":       {corev1.PodSpec{Tolerations: everything, Affinity: avoids}, true, true, false, 0, true, 0},
		"a pod that needs a machine without":        {corev1.PodSpec{}, true, false, false, 0, true, 0},
		"a pod that would come back, rolled out":    {corev1.PodSpec{Tolerations: everything}, false, false, true, 0, false, 10 * time.Second},
		"a pod that would come back, no rollout":    {corev1.PodSpec{Tolerations: everything}, false, false, false, 0, true, rolloutWait + time.Second},
		"a toleration of other taints is no reason": {corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists}}}, false, false, false, 1, false, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				core, refs := workloads()
				objects, err := json.Marshal(refs)
				if err != nil {
					t.Fatal(err)
				}
				c.spec.NodeName = "m1"
				other := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m3"}, Spec: corev1.NodeSpec{Unschedulable: c.cordoned},
					Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
				if c.maintained {
					other.Labels = map[string]string{pai.LabelMaintenance: "true"}
				}
				pods := corev1.SchemeGroupVersion.WithResource("pods")
				pod := &corev1.Pod{ObjectMeta: owned("kueue-1-a", "p1", "r"), Spec: c.spec}
				if err := errors.Join(core.Tracker().Add(other), core.Tracker().Update(pods, pod, system), core.Tracker().Add(&corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: inventoryPrefix + "service-kueue", Labels: map[string]string{inventoryLabel: "service-kueue"}},
					Data:       map[string]string{keyObjects: string(objects), keyState: InventoryApplied}})); err != nil {
					t.Fatal(err)
				}
				evicted := 0
				core.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
					evicted++
					return true, nil, core.Tracker().Delete(pods, system, a.(clienttesting.CreateAction).GetObject().(*policyv1.Eviction).Name)
				})
				if c.rolledOut {
					time.AfterFunc(10*time.Second-time.Millisecond, func() { _ = core.Tracker().Delete(pods, system, "kueue-1-a") })
				}
				start := time.Now()
				client := &Client{clientset: core, progress: t.Logf, retryTimeout: time.Second}
				if err := client.MovePods(t.Context(), "m1", false); err != nil || evicted != c.evicted {
					t.Errorf("got %d evicted, %v, want %d", evicted, err, c.evicted)
				}
				_, err = core.Tracker().Get(pods, system, "kueue-1-a")
				if waited := time.Since(start); (err == nil) != c.stays || waited != c.waits {
					t.Errorf("got %v for the pod after %s, want that it stays %v after %s", err, waited, c.stays, c.waits)
				}
			})
		})
	}
}
