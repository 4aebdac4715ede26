package job

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"

	"pai.dev/pai/internal/pai"
)

// State is where a job or a task is in its life. A job goes
//
//	WAITING → RUNNING → SUCCEEDED or FAILED
//
// and from WAITING or RUNNING, when it is asked to stop, over STOPPING to
// STOPPED. It goes back to WAITING while it is started again. Only SUCCEEDED,
// FAILED and STOPPED last.
type State string

// The states of a job; a task is never STOPPING.
const (
	StateWaiting   State = "WAITING"   // nothing of it runs yet
	StateRunning   State = "RUNNING"   // at least one task runs
	StateStopping  State = "STOPPING"  // it was asked to stop, and has not ended yet
	StateStopped   State = "STOPPED"   // it ended because it was asked to stop
	StateSucceeded State = "SUCCEEDED" //
	StateFailed    State = "FAILED"    //
	StateUnknown   State = "UNKNOWN"   // its objects do not say
)

// Ended reports whether the state lasts.
func (s State) Ended() bool {
	return s == StateSucceeded || s == StateFailed || s == StateStopped
}

// Status is a job as the cluster shows it.
type Status struct {
	pai.JobRef
	State   State     `json:"state"`
	Message string    `json:"message,omitempty"` // why it is in this state, where that is known
	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"` // when the first of its containers that are still known started
	Ended   time.Time `json:"ended,omitzero"`
	Retries int       `json:"retries"` // how often the whole job was started again

	TaskRoles []TaskRoleStatus `json:"taskRoles"`

	// Namespace and Object are where its Kubernetes objects are.
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
}

// TaskRoleStatus is the tasks of one role, by index.
type TaskRoleStatus struct {
	Name  string       `json:"name"`
	Tasks []TaskStatus `json:"tasks"`
}

// TaskStatus is one task, as its newest pod shows it.
type TaskStatus struct {
	Index     int       `json:"index"`
	State     State     `json:"state"`
	Message   string    `json:"message,omitempty"`
	Machine   string    `json:"machine,omitempty"`
	Pod       string    `json:"pod,omitempty"` // empty when there is none (any more)
	Container string    `json:"container,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	ExitCode  *int      `json:"exitCode,omitempty"`
	Retries   int       `json:"retries"` // how often this task was started again in this run of the job
}

// Count says how many tasks are in a state.
func (s Status) Count(state State) (n int) {
	for _, role := range s.TaskRoles {
		for _, t := range role.Tasks {
			if t.State == state {
				n++
			}
		}
	}
	return n
}

// Tasks says how many tasks the job has.
func (s Status) Tasks() (n int) {
	for _, role := range s.TaskRoles {
		n += len(role.Tasks)
	}
	return n
}

// ReadStatus reads a job's state from its JobSet and its pods.
func ReadStatus(obj *unstructured.Unstructured, pods []corev1.Pod) (Status, error) {
	var js jobset.JobSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &js); err != nil {
		return Status{}, fmt.Errorf("read JobSet %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	s := Status{
		JobRef: pai.JobRef{
			User:           js.Labels[pai.LabelUser],
			Name:           js.Annotations[pai.AnnotationJobName],
			VirtualCluster: js.Labels[pai.LabelVirtualCluster],
		},
		Created:   js.CreationTimestamp.Time,
		Retries:   int(js.Status.Restarts),
		Namespace: js.Namespace,
		Object:    js.Name,
		TaskRoles: []TaskRoleStatus{},
	}
	readJob(&s, js, live(pods))
	newest := newestPods(pods)
	for _, rj := range js.Spec.ReplicatedJobs {
		s.TaskRoles = append(s.TaskRoles, readRole(rj, s, newest))
	}
	s.Started = firstStart(s.TaskRoles)
	if s.State == StateWaiting && s.Count(StateRunning) > 0 {
		s.State = StateRunning
	}
	if s.State == StateWaiting && s.Message == "" {
		s.Message = firstMessage(s.TaskRoles)
	}
	return s, nil
}

// readJob sets what the JobSet says of the job as a whole; whether one that
// goes on is waiting or running, its tasks say.
func readJob(s *Status, js jobset.JobSet, livePods int) {
	completed := meta.FindStatusCondition(js.Status.Conditions, string(jobset.JobSetCompleted))
	failed := meta.FindStatusCondition(js.Status.Conditions, string(jobset.JobSetFailed))
	suspended := meta.FindStatusCondition(js.Status.Conditions, string(jobset.JobSetSuspended))
	request, isStopped := js.Annotations[pai.AnnotationStopped]
	stopped := ""
	if isStopped {
		stopped = "asked to stop at " + request
	}
	switch {
	case isTrue(completed):
		s.State, s.Ended = StateSucceeded, completed.LastTransitionTime.Time
	case isTrue(failed) && !isStopped:
		s.State, s.Ended, s.Message = StateFailed, failed.LastTransitionTime.Time, failed.Message
	case isTrue(failed):
		// Tasks that are stopped end with an error.
		s.State, s.Ended, s.Message = StateStopped, failed.LastTransitionTime.Time, stopped
	case isStopped && ptr.Deref(js.Spec.Suspend, false) && livePods == 0:
		s.State, s.Message = StateStopped, stopped
		if isTrue(suspended) {
			s.Ended = suspended.LastTransitionTime.Time
		}
	case isStopped || js.DeletionTimestamp != nil:
		s.State, s.Message = StateStopping, stopped
	case s.User == "" || s.Name == "":
		s.State = StateUnknown
	default:
		s.State = StateWaiting
		if ptr.Deref(js.Spec.Suspend, false) {
			s.Message = "waiting in the queue of its virtual cluster"
		}
	}
}

func isTrue(c *metav1.Condition) bool { return c != nil && c.Status == metav1.ConditionTrue }

// live counts the pods that still run or may come to run.
func live(pods []corev1.Pod) (n int) {
	for _, p := range pods {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			n++
		}
	}
	return n
}

type taskKey struct {
	role  string
	index int
}

// newestPods picks the pod that speaks for each task: the one created last,
// and of two created in the same second the one that is not going away.
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

// withoutPod is the state of a task that has no pod: of a job that ended it is
// gone, having been ended with the job.
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
	if n, err := strconv.Atoi(pod.Annotations[batchv1.JobIndexFailureCountAnnotation]); err == nil {
		t.Retries = n
	}
	switch pod.Status.Phase {
	case corev1.PodSucceeded:
		t.State = StateSucceeded
	case corev1.PodFailed:
		t.State, t.Message = StateFailed, cmp.Or(pod.Status.Message, pod.Status.Reason)
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
		t.State, t.Message, t.Started = StateRunning, "", c.State.Running.StartedAt.Time
	case c.State.Terminated != nil:
		end := c.State.Terminated
		code := int(end.ExitCode)
		t.Started, t.Ended, t.ExitCode = end.StartedAt.Time, end.FinishedAt.Time, &code
		if t.State == StateFailed && t.Message == "" {
			t.Message = fmt.Sprintf("ended with exit code %d", code)
			if end.Reason != "Error" && end.Reason != "" {
				t.Message += " (" + end.Reason + ")"
			}
		}
	case c.State.Waiting != nil && t.State == StateWaiting:
		t.Message = cmp.Or(c.State.Waiting.Message, c.State.Waiting.Reason)
	}
}

// waitingFor says why a pod has no machine yet.
func waitingFor(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return cmp.Or(c.Message, c.Reason)
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

func firstMessage(roles []TaskRoleStatus) string {
	for _, role := range roles {
		for _, t := range role.Tasks {
			if t.State == StateWaiting && t.Message != "" {
				return fmt.Sprintf("%s %d: %s", role.Name, t.Index, t.Message)
			}
		}
	}
	return ""
}
