package running

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

func TestQueued(t *testing.T) {
	t.Parallel()
	set := func(namespace, name string, annotations map[string]any, state string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"namespace": namespace, "name": name, "annotations": annotations,
				"labels": map[string]any{pai.LabelJob: name, pai.LabelUser: "ada", pai.LabelVirtualCluster: "default"}},
			"status": map[string]any{"terminalState": state}}}
	}
	job := func(namespace, object string, state pai.ContainerState) pai.Job {
		return pai.Job{Object: object, Pods: []pai.Pod{{Namespace: namespace, Containers: []pai.Container{{State: state}}}}}
	}
	foreign := set("a", "foreign", nil, "")
	foreign.SetLabels(nil) // not a job of PAI
	found := queued([]unstructured.Unstructured{
		foreign,
		set("a", "waits", map[string]any{pai.AnnotationJobName: "Waits"}, ""),
		set("a", "runs", nil, ""),
		set("b", "runs", nil, ""), // the same name in another namespace
		set("a", "placed", nil, ""),
		set("a", "succeeded", nil, "Completed"),
		set("a", "failed", nil, "Failed"),
		set("a", "stopped", map[string]any{pai.AnnotationStopped: "now"}, ""),
	}, []pai.Job{job("a", "runs", pai.ContainerRunning), job("a", "placed", pai.ContainerWaiting)})
	var names string
	for _, j := range found {
		names += j.String() + "@" + j.VirtualCluster + " "
	}
	if want := "ada~Waits@default ada~placed@default ada~runs@default "; names != want {
		t.Errorf("got %s, want %s", names, want)
	}
}
