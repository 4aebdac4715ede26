package job

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"

	"pai.dev/pai/internal/pai"
)

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// jobSetOf is the JobSet of the good job, with these conditions true.
func jobSetOf(t *testing.T, suspended bool, stopped string, conditions ...string) *unstructured.Unstructured {
	t.Helper()
	job, _, err := Parse([]byte(good), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	objects, err := job.Objects("alice", []byte(good), "alice-texts")
	if err != nil {
		t.Fatal(err)
	}
	obj := objects.JobSet
	var list []any
	for _, c := range conditions {
		list = append(list, map[string]any{"type": c, "status": "True", "message": "because", "lastTransitionTime": noon.Format(time.RFC3339)})
	}
	set := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	set(unstructured.SetNestedSlice(obj.Object, list, "status", "conditions"))
	set(unstructured.SetNestedField(obj.Object, suspended, "spec", "suspend"))
	if stopped != "" {
		set(unstructured.SetNestedField(obj.Object, stopped, "metadata", "annotations", pai.AnnotationStopped))
	}
	return obj
}

// pod is a pod of worker index, created age before noon.
func pod(index string, phase corev1.PodPhase, age time.Duration, state corev1.ContainerState) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:              "pod-" + index + "-" + age.String(),
			CreationTimestamp: metav1.NewTime(noon.Add(-age)),
			Annotations:       map[string]string{AnnotationTaskRole: "worker", "batch.kubernetes.io/job-completion-index": index},
		},
		Spec: corev1.PodSpec{NodeName: "gpu-01"},
		Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
			Name: ContainerName, ContainerID: "containerd://" + index, State: state,
		}}},
	}
}

func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}}
}

func exited(code int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error", StartedAt: metav1.NewTime(noon)}}
}

func pulling() corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}
}

func TestReadStatusState(t *testing.T) {
	t.Parallel()
	const asked = "2025-06-01T11:59:00Z by alice"
	runs, ended := pod("0", corev1.PodRunning, time.Minute, running()), pod("1", corev1.PodSucceeded, time.Minute, exited(0))
	broken := pod("1", corev1.PodFailed, time.Minute, exited(3))
	cases := []struct {
		name      string
		suspended bool
		stopped   string
		condition string
		pods      []corev1.Pod
		want      string // the state of the job and of its tasks
		message   string
	}{
		{"in the queue", true, "", string(jobset.JobSetSuspended), nil, "WAITING: WAITING WAITING", "waiting in the queue"},
		{"admitted", false, "", "", nil, "WAITING: WAITING WAITING", ""},
		{"no image", false, "", "", []corev1.Pod{pod("0", corev1.PodPending, 0, pulling())}, "WAITING: WAITING WAITING", "worker 0: ImagePullBackOff"},
		{"partly running", false, "", "", []corev1.Pod{runs}, "RUNNING: RUNNING WAITING", ""},
		{"one task done", false, "", "", []corev1.Pod{runs, ended}, "RUNNING: RUNNING SUCCEEDED", ""},
		{"every task that ran has ended, and the JobSet does not count it yet", false, "", "", []corev1.Pod{ended}, "RUNNING: WAITING SUCCEEDED", ""},
		{"a task failed, and the JobSet does not count it yet", false, "", "", []corev1.Pod{broken}, "RUNNING: WAITING FAILED", ""},
		{"retried", false, "", "", []corev1.Pod{broken, pod("1", corev1.PodRunning, 0, running()), runs}, "RUNNING: RUNNING RUNNING", ""},
		{"succeeded", false, "", string(jobset.JobSetCompleted), []corev1.Pod{ended}, "SUCCEEDED: STOPPED SUCCEEDED", ""},
		{"failed", false, "", string(jobset.JobSetFailed), []corev1.Pod{broken}, "FAILED: STOPPED FAILED", "because"},
		{"asked to stop", false, asked, "", []corev1.Pod{runs}, "STOPPING: RUNNING STOPPED", asked},
		{"suspended, pods still end", true, asked, string(jobset.JobSetSuspended), []corev1.Pod{runs}, "STOPPING: RUNNING STOPPED", asked},
		{"stopped", true, asked, string(jobset.JobSetSuspended), nil, "STOPPED: STOPPED STOPPED", asked},
		{"stopped, its tasks ended with an error", false, asked, string(jobset.JobSetFailed), []corev1.Pod{broken}, "STOPPED: STOPPED FAILED", asked},
		{"succeeded before it could be stopped", false, asked, string(jobset.JobSetCompleted), nil, "SUCCEEDED: STOPPED STOPPED", ""},
		{"suspended, not stopped", true, "", string(jobset.JobSetSuspended), []corev1.Pod{ended}, "WAITING: WAITING SUCCEEDED", "waiting in the queue"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var conditions []string
			if c.condition != "" {
				conditions = []string{c.condition}
			}
			s, err := ReadStatus(jobSetOf(t, c.suspended, c.stopped, conditions...), c.pods)
			if err != nil {
				t.Fatal(err)
			}
			got := string(s.State) + ":"
			for _, task := range s.TaskRoles[0].Tasks {
				got += " " + string(task.State)
			}
			if got != c.want || (c.message == "") != (s.Message == "") || !strings.Contains(s.Message, c.message) {
				t.Errorf("got %s (%s), want %s (%s)", got, s.Message, c.want, c.message)
			}
			if s.State.Ended() == s.Ended.IsZero() {
				t.Errorf("%s, ended at %s", s.State, s.Ended)
			}
		})
	}
}

func TestReadStatusTaskDetails(t *testing.T) {
	t.Parallel()
	failed := pod("1", corev1.PodFailed, 0, exited(3))
	failed.Annotations["batch.kubernetes.io/job-index-failure-count"] = "2"
	s, err := ReadStatus(jobSetOf(t, false, ""), []corev1.Pod{failed, pod("x", corev1.PodRunning, 0, running())})
	if err != nil {
		t.Fatal(err)
	}
	if s.JobRef != (pai.JobRef{User: "alice", Name: "train", VirtualCluster: "default"}) || s.Namespace != "pai-vc-default" {
		t.Errorf("job is %+v in %s", s.JobRef, s.Namespace)
	}
	task := s.TaskRoles[0].Tasks[1]
	if task.ExitCode == nil || *task.ExitCode != 3 || task.Retries != 2 || task.Machine != "gpu-01" ||
		task.Container != "containerd://1" || task.Message != "ended with exit code 3" || !task.Started.Equal(noon) {
		t.Errorf("task is %+v", task)
	}
	if !s.Started.Equal(noon) {
		t.Errorf("started %s", s.Started)
	}
}

// A JobSet that failed by the rule for tolerated failures is a job that succeeded, unless
// a user stopped it. The message of one that ran too long has its limit.
func TestStateOfToleratedFailuresAndTimeLimits(t *testing.T) {
	t.Parallel()
	reason := func(obj *unstructured.Unstructured, reason string) *unstructured.Unstructured {
		conditions, _, err := unstructured.NestedSlice(obj.Object, "status", "conditions")
		if err != nil {
			t.Fatal(err)
		}
		conditions[0].(map[string]any)["reason"] = reason
		if err := unstructured.SetNestedSlice(obj.Object, conditions, "status", "conditions"); err != nil {
			t.Fatal(err)
		}
		return obj
	}
	limited := func(obj *unstructured.Unstructured) *unstructured.Unstructured {
		roles, _, err := unstructured.NestedSlice(obj.Object, "spec", "replicatedJobs")
		if err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedField(roles[0].(map[string]any), int64(7200), "template", "spec", "activeDeadlineSeconds"); err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedSlice(obj.Object, roles, "spec", "replicatedJobs"); err != nil {
			t.Fatal(err)
		}
		return obj
	}
	for name, c := range map[string]struct {
		obj     *unstructured.Unstructured
		pods    []corev1.Pod
		state   State
		message string
	}{
		"tolerated":  {reason(jobSetOf(t, false, "", "Failed"), toleratedReason), nil, StateSucceeded, "tasks failed, as many as the job tolerates"},
		"stopped":    {reason(jobSetOf(t, false, "12:00 by alice", "Failed"), toleratedReason), nil, StateStopped, "asked to stop"},
		"failed":     {reason(jobSetOf(t, false, "", "Failed"), "ReachedMaxRestarts"), nil, StateFailed, "because"},
		"time limit": {limited(jobSetOf(t, false, "", "Failed")), nil, StateFailed, "it ran longer than its time limit of 2h0m0s"},
		"failed in time": {limited(jobSetOf(t, false, "", "Failed")), []corev1.Pod{pod("0", corev1.PodFailed, 0,
			corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"}})}, StateFailed, "ended with exit code 3"},
	} {
		got, err := ReadStatus(c.obj, c.pods)
		if err != nil || got.State != c.state || !strings.Contains(got.Message, c.message) {
			t.Errorf("%s: got %s, %q, %v", name, got.State, got.Message, err)
		}
	}
}
