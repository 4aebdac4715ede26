package job

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"

	"pai.dev/pai/internal/pai"
)

type taskKey struct {
	role  string
	index int
}

// newestPods returns the pod of each task that was created last. Of two pods
// from the same second it is the one that is not being deleted.
func newestPods(pods []corev1.Pod) map[taskKey]*corev1.Pod {
	newest := map[taskKey]*corev1.Pod{}
	for i := range pods {
		p := &pods[i]
		index, err := strconv.Atoi(p.Annotations[batchv1.JobCompletionIndexAnnotation])
		if err != nil {
			continue
		}
		key := taskKey{p.Annotations[AnnotationTaskRole], index}
		if old := newest[key]; old == nil || newer(p, old) {
			newest[key] = p
		}
	}
	return newest
}

func newer(p, old *corev1.Pod) bool {
	if !p.CreationTimestamp.Equal(&old.CreationTimestamp) {
		return old.CreationTimestamp.Before(&p.CreationTimestamp)
	}
	return p.DeletionTimestamp == nil && old.DeletionTimestamp != nil
}

func readRole(rj jobset.ReplicatedJob, s Status, newest map[taskKey]*corev1.Pod) TaskRoleStatus {
	role := TaskRoleStatus{Name: rj.Template.Annotations[AnnotationTaskRole], Tasks: []TaskStatus{}}
	instances := 1
	if rj.Template.Spec.Completions != nil {
		instances = int(*rj.Template.Spec.Completions)
	}
	for i := range instances {
		task := TaskStatus{Index: i}
		if pod := newest[taskKey{role.Name, i}]; pod != nil {
			readTask(&task, pod)
		} else {
			task.State = withoutPod(s.State)
		}
		role.Tasks = append(role.Tasks, task)
	}
	return role
}

// withoutPod is the state of a task that has no pod. If the job ended, the task
// ended with it.
func withoutPod(job State) State {
	switch job {
	case StateSucceeded, StateFailed, StateStopped, StateStopping:
		return StateStopped
	case StateUnknown:
		return StateUnknown
	default:
		return StateWaiting
	}
}

func readTask(t *TaskStatus, pod *corev1.Pod) {
	t.Pod, t.Machine = pod.Name, pod.Spec.NodeName
	t.PodUID, t.PodIP, t.PodCreated = string(pod.UID), pod.Status.PodIP, pod.CreationTimestamp.Time
	if n, err := strconv.Atoi(pod.Annotations[batchv1.JobIndexFailureCountAnnotation]); err == nil {
		t.Retries = n
	}
	switch pod.Status.Phase {
	case corev1.PodSucceeded:
		t.State = StateSucceeded
	case corev1.PodFailed:
		t.State, t.Message = StateFailed, podEnding(pod.Status.Reason, pod.Status.Message)
	default:
		t.State, t.Message = StateWaiting, waitingFor(pod)
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == ContainerName {
			readContainer(t, c)
		}
	}
}

func readContainer(t *TaskStatus, c corev1.ContainerStatus) {
	t.Container = c.ContainerID
	switch {
	case c.State.Running != nil:
		t.State, t.Message, t.Started = StateRunning, "", moment(c.State.Running.StartedAt.Time)
	case c.State.Terminated != nil:
		end := c.State.Terminated
		code := int(end.ExitCode)
		t.Started, t.Ended, t.ExitCode = moment(end.StartedAt.Time), moment(end.FinishedAt.Time), &code
		if t.State == StateFailed && t.Message == "" {
			t.Message = ending(end)
		}
	case c.State.Waiting != nil && t.State == StateWaiting:
		t.Message = waiting(c.State.Waiting)
	}
}

// waitingFor is why a pod has no machine yet; empty if unknown.
func waitingFor(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return cmp.Or(unscheduled(c.Message, pod.Spec.NodeSelector[pai.LabelMachineSKU]), c.Reason)
		}
	}
	return ""
}

func firstStart(roles []TaskRoleStatus) time.Time {
	var starts []time.Time
	for _, role := range roles {
		for _, t := range role.Tasks {
			if !t.Started.IsZero() {
				starts = append(starts, t.Started)
			}
		}
	}
	if len(starts) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(starts, time.Time.Compare)
}

// firstMessage is the message of the first task in a state.
func firstMessage(roles []TaskRoleStatus, state State) string {
	for _, role := range roles {
		for _, t := range role.Tasks {
			if t.State == state && t.Message != "" {
				return fmt.Sprintf("%s %d: %s", role.Name, t.Index, t.Message)
			}
		}
	}
	return ""
}
