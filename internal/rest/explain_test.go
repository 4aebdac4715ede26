package rest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// admitted adds a job of two task roles, with some tasks each, that Kueue has admitted.
func (m *memory) admitted(t *testing.T, user, name string, tasks int) job.Status {
	t.Helper()
	text := fmt.Sprintf(someJob, name) + "  server:\n    dockerImage: image\n    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}\n    commands: [echo hello]\n"
	text = strings.ReplaceAll(text, "    dockerImage: image\n", fmt.Sprintf("    instances: %d\n    dockerImage: image\n", tasks))
	j, _, err := job.Parse([]byte(text), job.ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := j.Objects(user, []byte(text), "texts-"+name)
	if err != nil {
		t.Fatal(err)
	}
	o.JobSet.SetUID(types.UID("uid-" + name))
	o.JobSet.SetCreationTimestamp(metav1.NewTime(time.Now().Add(-time.Hour)))
	_ = unstructured.SetNestedField(o.JobSet.Object, false, "spec", "suspend")
	if _, err := m.dynamic.Resource(job.JobSets).Namespace("pai-vc-default").Create(t.Context(), o.JobSet, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := job.ReadStatus(o.JobSet, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pod adds a pod of a task.
func (m *memory) pod(t *testing.T, s job.Status, role string, index int, change func(*corev1.Pod)) {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%s-%d", s.Name, role, index), Namespace: s.Namespace, UID: types.UID(fmt.Sprintf("pod-%s-%d", role, index)),
			CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Minute)),
			Labels:            map[string]string{pai.LabelJob: s.Object, pai.LabelUser: s.User},
			Annotations:       map[string]string{job.AnnotationTaskRole: role, "batch.kubernetes.io/job-completion-index": fmt.Sprint(index)}},
		Spec:   corev1.PodSpec{NodeName: "pai-1"},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	if change != nil {
		change(p)
	}
	if _, err := m.clientset.CoreV1().Pods(s.Namespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// reports makes the cluster answer for events by their selector, and counts the requests.
func (m *memory) reports(events map[string]corev1.Event, err error) *int {
	asked := 0
	m.clientset.(*fake.Clientset).PrependReactor("list", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		list := &corev1.EventList{}
		about := a.(clienttesting.ListAction).GetListRestrictions().Fields.String()
		for object, e := range events {
			if strings.Contains(about, "involvedObject.name="+object) {
				list.Items = append(list.Items, e)
			}
		}
		return true, list, err
	})
	return &asked
}

func warning(reason, message string, age time.Duration) corev1.Event {
	return corev1.Event{Type: "Warning", Reason: reason, Message: message, LastTimestamp: metav1.NewTime(time.Now().Add(-age))}
}

// A task that waits says what Kubernetes reports about it. The number of requests does not
// grow with the job, and an error of them is no error of the answer.
func TestWaitingTasksAreExplained(t *testing.T) {
	t.Parallel()
	id := JobID{"ada", "train"}
	ctx := WithCaller(t.Context(), Caller{Name: "ada"})
	m := newMemory("default")
	core := NewCore(m, []string{"default"})
	s := m.admitted(t, "ada", "train", 20)
	for i := range 20 {
		m.pod(t, s, "worker", i, nil)
	}
	asked := m.reports(map[string]corev1.Event{
		"train-worker-0":       warning("FailedMount", "no such volume", 0),
		s.Object + "-server-0": warning("FailedCreate", "Error creating: denied by policy", time.Minute),
		s.Object + "-worker-0": warning("FailedCreate", "not asked for", 0),
		"train-worker-1":       warning("Failed", "Failed to pull image: \x1b[2Jdenied", 0),
		"train-worker-19":      warning("Failed", "not asked for", 0),
	}, nil)
	got, err := core.Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	tasks := got.TaskRoles[0].Tasks
	if !strings.Contains(tasks[0].Message, "no such volume") || !strings.Contains(tasks[1].Message, "image: [2Jdenied") || tasks[19].Message != "" {
		t.Errorf("the tasks say %q, %q, and %q", tasks[0].Message, tasks[1].Message, tasks[19].Message)
	}
	if said := got.TaskRoles[1].Tasks[0].Message; said != "the cluster refuses its pod; ask your operator (Error creating: denied by policy)" || got.TaskRoles[1].Tasks[1].Message != "" {
		t.Errorf("the task without a pod says %q", said)
	}
	if !strings.HasPrefix(got.Message, "worker 0: FailedMount at ") || *asked != maxExplained+1 {
		t.Errorf("the job says %q after %d requests", got.Message, *asked)
	}
	// Who reads the output of a task learns why that task waits.
	if _, err := core.Logs(ctx, id, LogOptions{Index: 19}); err == nil || !strings.Contains(err.Error(), "has not started yet: Failed at ") || *asked != maxExplained+2 {
		t.Errorf("the output: %v after %d requests", err, *asked)
	}
	// A look at a task that is followed asks for no events.
	if _, err := core.lookUp(ctx, id, LogOptions{}); err != nil || *asked != maxExplained+2 {
		t.Errorf("a look: %v after %d requests", err, *asked)
	}
	m.reports(nil, errors.New("no connection"))
	if got, err := core.Get(ctx, id); err != nil || got.State != job.StateWaiting {
		t.Errorf("without events: %s, %v", got.State, err)
	}
}

// What happened to an earlier job with the same name is not said.
func TestEventsOfAnEarlierJobAreNotSaid(t *testing.T) {
	t.Parallel()
	m := newMemory("default")
	s := m.admitted(t, "ada", "train", 1)
	m.reports(map[string]corev1.Event{s.Object + "-worker-0": warning("FailedCreate", "Error creating: an earlier job", 2*time.Hour)}, nil)
	got, err := NewCore(m, []string{"default"}).Get(WithCaller(t.Context(), Caller{Name: "ada"}), JobID{"ada", "train"})
	if err != nil || strings.Contains(got.Message, "earlier") {
		t.Errorf("got %q, %v", got.Message, err)
	}
}
