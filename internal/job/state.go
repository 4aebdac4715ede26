package job

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"

	"pai.dev/pai/internal/pai"
)

// State is the state of a job or a task:
//
//	WAITING → RUNNING → SUCCEEDED or FAILED
//	WAITING or RUNNING → STOPPING → STOPPED, if a user stops the job
//	RUNNING → WAITING, while the job is restarted
//
// Only SUCCEEDED, FAILED, and STOPPED are final.
type State string

// The states of a job; a task is never STOPPING.
const (
	StateWaiting   State = "WAITING"  // no task runs yet
	StateRunning   State = "RUNNING"  // at least one task runs
	StateStopping  State = "STOPPING" // a user stopped it, and it has not ended yet
	StateStopped   State = "STOPPED"  // it ended because a user stopped it
	StateSucceeded State = "SUCCEEDED"
	StateFailed    State = "FAILED"
	StateUnknown   State = "UNKNOWN" // its objects have no PAI labels, or it left the cluster and its end was not seen
)

// States are all states of a job, in the order of its life.
func States() []State {
	return []State{StateWaiting, StateRunning, StateStopping, StateStopped, StateSucceeded, StateFailed, StateUnknown}
}

// ParseState reads a state in upper or lower case.
func ParseState(text string) (State, error) {
	s, all := State(strings.ToUpper(text)), States()
	if slices.Contains(all, s) {
		return s, nil
	}
	names := make([]string, len(all))
	for i, known := range all {
		names[i] = string(known)
	}
	return "", pai.Errorf(pai.CodeInvalid, "", "unknown state %q of a job, want one of %s", text, strings.Join(names, ", "))
}

// Ended reports whether the state is final.
func (s State) Ended() bool {
	return s == StateSucceeded || s == StateFailed || s == StateStopped
}

// Status is a job as observed in the cluster.
type Status struct {
	pai.JobRef
	State   State     `json:"state"`
	Message string    `json:"message,omitempty"` // why it is in this state, if known
	Created time.Time `json:"created"`
	Started time.Time `json:"started,omitzero"` // start of the first container of its current pods
	Ended   time.Time `json:"ended,omitzero"`
	Retries int       `json:"retries"` // how often the whole job was restarted
	// Priority is the class that the job asked for; empty if it asked for none.
	Priority string `json:"priority,omitempty"`
	// GPUs is how many GPUs all of its tasks have.
	GPUs int `json:"gpus,omitempty"`
	// Tags are those that users gave it.
	Tags []string `json:"tags,omitempty"`
	// StopAsked means that a user stopped it.
	StopAsked bool `json:"stopAsked,omitempty"`

	TaskRoles []TaskRoleStatus `json:"taskRoles"`

	// Namespace and Object name its Kubernetes objects. UID is that of its JobSet: no
	// other job has it, also if it has the same name.
	Namespace string `json:"namespace"`
	Object    string `json:"object"`
	UID       string `json:"uid,omitempty"`
}

// Public is what users see of the job of another user: its name, owner, state, and virtual
// cluster, and when it was in its states. A new field is private until it is here.
func (s Status) Public() Status {
	return Status{JobRef: s.JobRef, State: s.State, Created: s.Created, Started: s.Started, Ended: s.Ended, UID: s.UID, TaskRoles: []TaskRoleStatus{}}
}

// TaskRoleStatus is the tasks of one role, by index.
type TaskRoleStatus struct {
	Name  string       `json:"name"`
	Tasks []TaskStatus `json:"tasks"`
}

// TaskStatus is one task, as observed in its newest pod.
type TaskStatus struct {
	Index     int       `json:"index"`
	State     State     `json:"state"`
	Message   string    `json:"message,omitempty"`
	Machine   string    `json:"machine,omitempty"`
	Pod       string    `json:"pod,omitempty"` // empty if there is none
	Container string    `json:"container,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	ExitCode  *int      `json:"exitCode,omitempty"`
	Retries   int       `json:"retries"` // how often this task was restarted in this run of the job
	// PodUID, PodIP, and PodCreated are of its newest pod.
	PodUID     string    `json:"podUID,omitempty"`
	PodIP      string    `json:"podIP,omitempty"`
	PodCreated time.Time `json:"podCreated,omitzero"`
	// GPUs is how many GPUs the task has.
	GPUs int `json:"gpus,omitempty"`
}

// Count returns how many tasks are in a state.
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

// Tasks returns how many tasks the job has.
func (s Status) Tasks() (n int) {
	for _, role := range s.TaskRoles {
		n += len(role.Tasks)
	}
	return n
}

// FirstFailed is the task that failed first, with its role; nil if none did.
func (s Status) FirstFailed() (role string, first *TaskStatus) {
	for _, r := range s.TaskRoles {
		for i := range r.Tasks {
			t := &r.Tasks[i]
			if t.State == StateFailed && (first == nil || t.Ended.Before(first.Ended)) {
				role, first = r.Name, t
			}
		}
	}
	return role, first
}

// Record is the part of a JobSet that the status of its job depends on. It is small:
// it has no texts and no templates of pods.
type Record struct {
	set  jobset.JobSet
	gpus []int     // of one task, by task role
	asks []request // of one task, by task role
}

// ReadRecord reads a JobSet of any release.
func ReadRecord(obj *unstructured.Unstructured) (Record, error) {
	var js jobset.JobSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &js); err != nil {
		return Record{}, fmt.Errorf("read JobSet %s/%s: %w", obj.GetNamespace(), obj.GetName(), err)
	}
	js.ManagedFields = nil
	delete(js.Annotations, AnnotationProtocol)
	gpus, asks := make([]int, len(js.Spec.ReplicatedJobs)), make([]request, len(js.Spec.ReplicatedJobs))
	for i := range js.Spec.ReplicatedJobs {
		template := &js.Spec.ReplicatedJobs[i].Template.Spec.Template
		for _, c := range template.Spec.Containers {
			quantity := c.Resources.Limits[gpuResource]
			gpus[i] += int(quantity.Value())
			asks[i].add(c.Resources.Requests)
		}
		*template = corev1.PodTemplateSpec{}
	}
	return Record{js, gpus, asks}, nil
}

// Object is the name of the JobSet.
func (r Record) Object() string { return r.set.Name }

// UID is that of the JobSet.
func (r Record) UID() types.UID { return r.set.UID }

// Version is that of the JobSet: two records with the same UID and version are equal.
func (r Record) Version() string { return r.set.ResourceVersion }

// ReadStatus reads the status of a job from its JobSet and its pods.
func ReadStatus(obj *unstructured.Unstructured, pods []corev1.Pod) (Status, error) {
	r, err := ReadRecord(obj)
	if err != nil {
		return Status{}, err
	}
	return r.Status(pods), nil
}

// Status is the status of the job with its pods.
func (r Record) Status(pods []corev1.Pod) Status {
	js := r.set
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
		UID:       string(js.UID),
		TaskRoles: []TaskRoleStatus{},
	}
	s.Priority = priorityOf(js.Labels[LabelPriority])
	s.Tags = ReadTags(js.Annotations[pai.AnnotationTags])
	_, s.StopAsked = js.Annotations[pai.AnnotationStopped]
	readJob(&s, js, live(pods))
	newest := newestPods(pods)
	for i, rj := range js.Spec.ReplicatedJobs {
		role := readRole(rj, s, newest)
		for j := range role.Tasks {
			role.Tasks[j].GPUs = r.gpus[i]
		}
		s.GPUs += r.gpus[i] * len(role.Tasks)
		s.TaskRoles = append(s.TaskRoles, role)
	}
	s.Started = firstStart(s.TaskRoles)
	// Its last task can have ended a moment before the JobSet counts it. Only a job that
	// is in the queue waits beside tasks that have ended.
	began := s.Count(StateRunning) + s.Count(StateSucceeded) + s.Count(StateFailed)
	if s.State == StateWaiting && began > 0 && !ptr.Deref(js.Spec.Suspend, false) {
		s.State = StateRunning
	}
	if s.State == StateWaiting && s.Message == "" {
		s.Message = firstMessage(s.TaskRoles, StateWaiting)
	}
	if s.State == StateFailed { // the JobSet only reports that a job failed
		s.Message = withCause(cmp.Or(firstMessage(s.TaskRoles, StateFailed), timeLimit(js, s)), s.Message)
	}
	return s
}

// timeLimit is the message of a job that no task made fail, but its time limit.
func timeLimit(js jobset.JobSet, s Status) string {
	if len(js.Spec.ReplicatedJobs) == 0 || js.Spec.ReplicatedJobs[0].Template.Spec.ActiveDeadlineSeconds == nil || s.Count(StateFailed) > 0 {
		return ""
	}
	limit := time.Duration(*js.Spec.ReplicatedJobs[0].Template.Spec.ActiveDeadlineSeconds) * time.Second
	return "it ran longer than its time limit of " + limit.String()
}

// withCause adds what the JobSet reports to why a task failed.
func withCause(task, jobSet string) string {
	if task == "" || jobSet == "" {
		return task + jobSet
	}
	return task + " (" + jobSet + ")"
}

// readJob sets the state of the job as a whole. ReadStatus derives from the
// tasks whether an active job is waiting or running.
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
	case isTrue(failed) && !isStopped && failed.Reason == toleratedReason:
		s.State, s.Ended, s.Message = StateSucceeded, failed.LastTransitionTime.Time, "tasks failed, as many as the job tolerates"
	case isTrue(failed) && !isStopped:
		s.State, s.Ended, s.Message = StateFailed, failed.LastTransitionTime.Time, failed.Message
	case isTrue(failed):
		// Stopped tasks end with an error.
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

// live counts the pods that run or can still start.
func live(pods []corev1.Pod) (n int) {
	for _, p := range pods {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			n++
		}
	}
	return n
}
