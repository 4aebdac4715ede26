package kube

import (
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"pai.dev/pai/internal/pai"
)

const system = "pai-system"

func owned(name string, uid, owner types.UID) metav1.ObjectMeta {
	controller := true
	m := metav1.ObjectMeta{Namespace: system, Name: name, UID: uid, ResourceVersion: "7", Labels: map[string]string{"app": "kueue"}}
	if owner != "" {
		m.OwnerReferences = []metav1.OwnerReference{{UID: owner, Controller: &controller}}
	}
	return m
}

// workloads are a Deployment and a DaemonSet of a service, and what looks like them.
func workloads() (*fake.Clientset, []Ref) {
	mark := map[string]string{AnnotationInventory: "service-kueue"}
	deployment := &appsv1.Deployment{ObjectMeta: owned("kueue", "d", "")}
	daemons := &appsv1.DaemonSet{ObjectMeta: owned("exporter", "s", "")}
	other := &appsv1.Deployment{ObjectMeta: owned("other", "o", "")} // of another inventory
	deployment.Annotations, daemons.Annotations = mark, mark
	pod := func(name string, uid, owner types.UID) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: owned(name, uid, owner), Spec: corev1.PodSpec{NodeName: "m1"}}
	}
	job := pod("job", "p4", "r")
	job.Labels[pai.LabelJob] = "train"
	elsewhere := pod("elsewhere", "p5", "r")
	elsewhere.Namespace = "pai-vc-default"
	weak := pod("weak", "p8", "r") // an owner, but not the one that controls it
	weak.OwnerReferences[0].Controller = nil
	core := fake.NewClientset(deployment, daemons, other,
		&appsv1.ReplicaSet{ObjectMeta: owned("kueue-1", "r", "d")}, &appsv1.ReplicaSet{ObjectMeta: owned("other-1", "r2", "o")},
		pod("kueue-1-a", "p1", "r"), pod("exporter-a", "p2", "s"), pod("spoof", "p3", ""), job, elsewhere, weak,
		pod("other-1-a", "p6", "r2"))
	refs := []Ref{}
	for _, w := range [][2]string{{"Deployment", "kueue"}, {"DaemonSet", "exporter"}, {"Deployment", "other"}, {"StatefulSet", "missing"}} {
		refs = append(refs, Ref{Group: "apps", Version: "v1", Kind: w[0], Namespace: system, Name: w[1]})
	}
	return core, append(refs, Ref{Version: "v1", Kind: "ConfigMap", Namespace: system, Name: "kueue"})
}

// Any pod can have the labels of a service. Only its owner says that it is one.
func TestWorkloadPodsAreThoseOfTheOwner(t *testing.T) {
	t.Parallel()
	core, refs := workloads()
	pods, err := (&Client{clientset: core}).WorkloadPods(t.Context(), "service-kueue", refs)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pods {
		names = append(names, p.Ref.Name)
	}
	slices.Sort(names)
	if want := []string{"exporter-a", "kueue-1-a"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestStalled(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	waiting := func(reason string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "manager", RestartCount: 6,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "back-off 5m0s restarting failed container"}}}
	}
	running := func(ready bool, d time.Duration) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "manager", Ready: ready,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now.Add(-d))}}}
	}
	for _, c := range []struct {
		name    string
		init    []corev1.ContainerStatus
		status  []corev1.ContainerStatus
		deleted bool
		unready time.Duration
		want    string
	}{
		{"crashed", nil, []corev1.ContainerStatus{waiting(crashLoop)}, false, 0, "CrashLoopBackOff: back-off 5m0s"},
		{"an init container crashed", []corev1.ContainerStatus{waiting(crashLoop)}, []corev1.ContainerStatus{waiting("PodInitializing")}, false, 0, "CrashLoopBackOff"},
		{"crashed beside a ready container", nil, []corev1.ContainerStatus{waiting(crashLoop), running(true, time.Hour)}, false, time.Minute, ""},
		{"being deleted", nil, []corev1.ContainerStatus{waiting(crashLoop)}, true, time.Minute, ""},
		{"no image", nil, []corev1.ContainerStatus{waiting("ErrImageNeverPull")}, false, time.Minute, ""},
		{"being created", nil, []corev1.ContainerStatus{waiting("ContainerCreating")}, false, time.Minute, ""},
		{"ready", nil, []corev1.ContainerStatus{running(true, time.Hour)}, false, time.Minute, ""},
		{"not ready for long", nil, []corev1.ContainerStatus{running(false, 3*time.Minute)}, false, 2 * time.Minute, "has run for 3m0s and is not ready"},
		{"not ready yet", nil, []corev1.ContainerStatus{running(false, time.Minute)}, false, 2 * time.Minute, ""},
		{"not ready for long, which this service may be", nil, []corev1.ContainerStatus{running(false, time.Hour)}, false, 0, ""},
		{"unknown", nil, nil, false, time.Minute, ""},
	} {
		p := WorkloadPod{status: corev1.PodStatus{InitContainerStatuses: c.init, ContainerStatuses: c.status}, deleted: c.deleted}
		if got := p.Stalled(now, c.unready); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRestartPodDeletesWhatWasObserved(t *testing.T) {
	t.Parallel()
	ready := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m1"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
	silent := ready.DeepCopy()
	silent.Status.Conditions[0].Status = corev1.ConditionUnknown
	for name, c := range map[string]struct {
		node *corev1.Node
		err  error
		want bool
	}{
		"a ready machine":      {ready, nil, true},
		"a silent machine":     {silent, nil, false},
		"no machine":           {&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m2"}}, nil, false},
		"it changed meanwhile": {ready, apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "kueue-1-a", nil), false},
		"it ended meanwhile":   {ready, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "kueue-1-a"), false},
	} {
		core, refs := workloads()
		if err := core.Tracker().Add(c.node.DeepCopy()); err != nil {
			t.Fatal(err)
		}
		client := &Client{clientset: core, progress: t.Logf, retryTimeout: time.Second}
		pods, err := client.WorkloadPods(t.Context(), "service-kueue", refs[:1])
		if err != nil || len(pods) != 1 {
			t.Fatalf("got %v, %v, want one pod", pods, err)
		}
		var options metav1.DeleteOptions
		core.PrependReactor("delete", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
			options = a.(clienttesting.DeleteActionImpl).DeleteOptions
			return true, nil, c.err
		})
		restarted, err := client.RestartPod(t.Context(), pods[0])
		if err != nil || restarted != c.want {
			t.Errorf("%s: got %v, %v, want %v", name, restarted, err, c.want)
		}
		if p := options.Preconditions; c.want && (p == nil || p.UID == nil || *p.UID != "p1" || p.ResourceVersion == nil || *p.ResourceVersion != "7") {
			t.Errorf("%s: got preconditions %+v, want the UID and the version that were observed", name, p)
		}
	}
}
