package running

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	started := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	pod := func(namespace, job, name string, change func(p *corev1.Pod)) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "u", Labels: map[string]string{
			pai.LabelJob: job, pai.LabelUser: "ada", pai.LabelVirtualCluster: "default"}}}
		change(&p)
		return p
	}
	nothing := func(*corev1.Pod) {}
	jobs := Join([]corev1.Pod{
		pod("pai-vc-b", "train", "train-0", nothing),
		pod("pai-vc-a", "train", "train-1", func(p *corev1.Pod) {
			p.Annotations = map[string]string{pai.AnnotationJobName: "Train_1"}
			p.Spec.NodeName = "gpu-01"
			p.Status.Phase = corev1.PodRunning
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", ContainerID: "containerd://i", State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, StartedAt: metav1.NewTime(started)}}}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{
				{Name: "main", ContainerID: "containerd://m", RestartCount: 2, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(started)}}},
				{Name: "late", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}},
			}
		}),
		pod("pai-vc-a", "train", "train-0", func(p *corev1.Pod) { p.Annotations = map[string]string{pai.AnnotationJobName: "Train_1"} }),
	}, map[string]JobSet{"pai-vc-b/train": {Stopped: true}})

	if len(jobs) != 2 || jobs[0].Pods[0].Namespace != "pai-vc-a" || jobs[1].Pods[0].Namespace != "pai-vc-b" {
		t.Fatalf("got %+v, want one job of each namespace", jobs)
	}
	a, b := jobs[0], jobs[1]
	if a.String() != "ada~Train_1" || a.VirtualCluster != "default" || a.Object != "train" || a.Stopped || !a.Running() {
		t.Errorf("got %+v", a)
	}
	if b.Name != "train" || !b.Stopped || b.Running() {
		t.Errorf("got %+v, want it stopped and named after its object", b)
	}
	want := pai.Pod{Namespace: "pai-vc-a", Name: "train-1", UID: "u", Machine: "gpu-01", Phase: "Running", Containers: []pai.Container{
		{Name: "init", ID: "i", State: pai.ContainerExited, StartedAt: started, ExitCode: 3},
		{Name: "main", ID: "m", Restarts: 2, State: pai.ContainerRunning, StartedAt: started},
		{Name: "late", State: pai.ContainerWaiting},
	}}
	if a.Pods[0].Name != "train-0" || !reflect.DeepEqual(a.Pods[1], want) {
		t.Errorf("got %+v, want the pods sorted, the second %+v", a.Pods, want)
	}
}

func TestReadJobSet(t *testing.T) {
	t.Parallel()
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetNamespace("pai-vc-a")
	o.SetName("train")
	if got, want := ReadJobSet(o), (JobSet{Key: "pai-vc-a/train"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	o.SetAnnotations(map[string]string{pai.AnnotationStopped: "2026-01-02T03:04:05Z by ada"})
	o.Object["status"] = map[string]any{"terminalState": "Completed", "restarts": int64(2)}
	if got, want := ReadJobSet(o), (JobSet{Key: "pai-vc-a/train", Stopped: true, Completed: true, Restarts: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	o.Object["status"] = map[string]any{"terminalState": "Failed"}
	if got := ReadJobSet(o); got.Completed || !got.Failed {
		t.Errorf("got %+v, want a failed job, not a completed one", got)
	}
}
