package witness

import (
	"encoding/json"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/pai"
)

// Each job has a line with its containers, its machines, and the steps that could
// end them, also those before a resume.
func TestPerJob(t *testing.T) {
	t.Parallel()
	other := podOf("c", func(p *corev1.Pod) {
		p.Labels[pai.LabelJob], p.Annotations[pai.AnnotationJobName], p.Spec.NodeName = "eval", "eval", "gpu-02"
	})
	l := newLedger(baselineOf([]corev1.Pod{*podOf("a"), *podOf("b"), *other}, nil, base()).Jobs, nil, proven().steps, base())
	l.recordPod(podOf("a", exited(0, 12_000)), at(12_500))
	want := []pai.JobLine{
		{Job: "ada~eval", ContainersBefore: 1, ContainersAfter: 1, Machines: []string{"gpu-02"}, Steps: []string{}, UnobservedSeconds: 1.5,
			OutputUnobserved: "1 of 1 containers: the logs on gpu-02 were not read"},
		{Job: "ada~train", ContainersBefore: 2, ContainersAfter: 1, Machines: []string{"gpu-01"}, Steps: []string{"kubelet"}, UnobservedSeconds: 1.5,
			OutputUnobserved: "1 of 1 containers: the logs on gpu-01 were not read"},
	}
	if got := l.perJob(1.5, nil, base(), at(21_000)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	data, err := json.Marshal(l.state(at(21_000)))
	if err != nil {
		t.Fatal(err)
	}
	var b Baseline
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	later := &timeline{}
	later.note(at(30_000), Step{ID: "storage", Everywhere: true})
	resumed := newLedger(b.Jobs, nil, later, at(30_000))
	want[0].Steps, want[1].Steps = []string{"storage"}, []string{"kubelet", "storage"}
	if got := resumed.perJob(1.5, nil, base(), at(31_000)); !reflect.DeepEqual(got, want) {
		t.Errorf("resumed: got %+v, want %+v", got, want)
	}
}
