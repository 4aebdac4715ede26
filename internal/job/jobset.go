package job

import (
	"fmt"
	"math"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"

	"pai.dev/pai/internal/pai"
)

// JobSets is the resource that a job becomes.
var JobSets = jobset.GroupVersion.WithResource("jobsets")

const (
	// QueueName is the name of the LocalQueue of every virtual cluster. It is
	// not "default": if a queue of that name exists, Kueue refuses to remove
	// LabelQueue from a stopped job.
	QueueName = "jobs"
	// LabelQueue is the label of Kueue for the queue that admits an object
	// (sigs.k8s.io/kueue/pkg/controller/constants).
	LabelQueue = pai.LabelQueue
	// AnnotationProtocol holds the job as the user wrote it, in a JobSet of v0.10 and
	// older. Newer ones have AnnotationTexts.
	AnnotationProtocol = "pai.dev/protocol"
	// AnnotationTexts is the name of the ConfigMap with the texts of a job.
	AnnotationTexts = "pai.dev/texts"
	// AnnotationTaskRole holds the name of a task role as the user wrote it.
	AnnotationTaskRole = "pai.dev/task-role-name"

	// ContainerName is the name of the container of a task.
	ContainerName = "task"
	// GracePeriod is how many seconds a stopped task has to end.
	GracePeriod = 30

	gpuResource = "nvidia.com/gpu" // NVIDIA's device plugin
)

// Objects are what a job becomes.
type Objects struct {
	// Texts is the ConfigMap with what every task would repeat otherwise.
	Texts *unstructured.Unstructured
	// Secret is the Secret with what only the tasks and the kubelet read: scripts with
	// the value of a secret, the key for ssh, the access to registries. It has the name of
	// Texts and belongs to it. nil if the job has nothing of it.
	Secret *unstructured.Unstructured
	// JobSet runs the job. It exists completely or not at all, and the job with it.
	// It refers to Texts and Secret, so it is created after them.
	JobSet *unstructured.Unstructured
}

// Objects returns the objects of the job of a user; text is the job as the user
// wrote it, and texts is a name for its ConfigMap that no other job has. The error is
// Problems if the objects would be too large.
//
// The JobSet is created suspended, and Kueue resumes it. Every default is spelled
// out: a running job must not change when a later release has other defaults.
func (j *Spec) Objects(user string, text []byte, texts string) (Objects, error) {
	labels := map[string]string{
		pai.LabelJob:            ObjectName(user, j.Name),
		pai.LabelUser:           user,
		pai.LabelVirtualCluster: j.VirtualCluster,
	}
	js, err := j.jobSet(user, texts, labels)
	if err != nil {
		return Objects{}, err
	}
	set, err := runtime.DefaultUnstructuredConverter.ToUnstructured(js)
	if err != nil {
		return Objects{}, fmt.Errorf("make the JobSet of job %q: %w", j.Name, err)
	}
	unstructured.RemoveNestedField(set, "status")
	// The type leaves out a zero, and no default is left to a later release.
	if err := unstructured.SetNestedField(set, int64(j.RetryCount), "spec", "failurePolicy", "maxRestarts"); err != nil {
		return Objects{}, fmt.Errorf("make the JobSet of job %q: %w", j.Name, err)
	}
	o := Objects{JobSet: &unstructured.Unstructured{Object: set}, Texts: j.texts(texts, text, labels)}
	if o.Secret, err = j.secret(texts, labels); err != nil {
		return Objects{}, err
	}
	if err := o.checkSize(js); err != nil {
		return o, err
	}
	return o, j.checkEnvironment()
}

func (j *Spec) jobSet(user, texts string, labels map[string]string) (*jobset.JobSet, error) {
	js := &jobset.JobSet{
		TypeMeta: metav1.TypeMeta{APIVersion: jobset.GroupVersion.String(), Kind: "JobSet"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        labels[pai.LabelJob],
			Namespace:   Namespace(j.VirtualCluster),
			Labels:      with(labels, LabelQueue, QueueName),
			Annotations: map[string]string{pai.AnnotationJobName: j.Name, AnnotationTexts: texts},
		},
		Spec: jobset.JobSetSpec{
			Suspend:       new(true),
			Network:       &jobset.Network{EnableDNSHostnames: new(true), PublishNotReadyAddresses: new(true)},
			StartupPolicy: &jobset.StartupPolicy{StartupPolicyOrder: jobset.AnyOrder},
			SuccessPolicy: j.successPolicy(),
			FailurePolicy: j.failurePolicy(),
		},
	}
	if j.Priority != "" {
		js.Labels[LabelPriority] = PriorityClass(j.Priority)
	}
	for i, role := range j.TaskRoles {
		for _, other := range j.TaskRoles[:i] {
			if roleObject(role.Name) == roleObject(other.Name) {
				return nil, fmt.Errorf("task roles %q and %q have the same object name", role.Name, other.Name)
			}
		}
		js.Spec.ReplicatedJobs = append(js.Spec.ReplicatedJobs, jobset.ReplicatedJob{
			Name:      roleObject(role.Name),
			GroupName: "default",
			Replicas:  1,
			Template:  j.jobTemplate(role, user, texts, with(labels, pai.LabelTaskRole, roleLabel(role.Name))),
		})
	}
	return js, nil
}

// failurePolicy says when a failed Job of a role is started again.
//
// A role runs as one Indexed Job. Kubernetes fails such a Job when its last index ends
// after any index has failed (FailedIndexes), also if the role tolerates that many
// failed tasks: MinFailed is more than 1, or NeverDecides. The tasks have all ended
// then, and too few have failed for the job to fail: it has succeeded. JobSet cannot
// express that, so the rule marks the JobSet, and Record.Status reads the mark. The rule
// ends the other roles as well, so a job with such a role has no other one.
func (j *Spec) failurePolicy() *jobset.FailurePolicy {
	// A restarted job starts after all of its tasks have ended.
	p := &jobset.FailurePolicy{RestartStrategy: jobset.BlockingRecreate}
	for _, role := range j.TaskRoles {
		if role.MinFailed != 1 {
			p.Rules = []jobset.FailurePolicyRule{{
				Name: toleratedRule, Action: jobset.FailJobSet, OnJobFailureReasons: []string{batchv1.JobReasonFailedIndexes},
			}}
		}
	}
	return p
}

const (
	// toleratedRule is the only rule with its action, so that the reason of the JobSet
	// (sigs.k8s.io/jobset/pkg/constants) is its mark.
	toleratedRule   = "toleratedFailures"
	toleratedReason = "FailJobSetFailurePolicyAction"

	// LabelPriority is the label of Kueue for the priority of an object
	// (sigs.k8s.io/kueue/pkg/controller/constants).
	LabelPriority = "kueue.x-k8s.io/priority-class"
)

// PriorityClass is the WorkloadPriorityClass of a priority of jobs.
func PriorityClass(priority string) string { return "pai-" + priority }

// priorityOf is the priority of jobs with a WorkloadPriorityClass; empty if it is not one
// of PAI.
func priorityOf(class string) string {
	for _, p := range priorities {
		if class == PriorityClass(p) {
			return p
		}
	}
	return ""
}

// maxFailed is how many indexes of a role can fail before its Job ends; nil: all.
func (r TaskRole) maxFailed() *int32 {
	if r.MinFailed == NeverDecides || r.MinFailed > r.Instances {
		return nil
	}
	return new(int32(max(r.MinFailed, 1) - 1))
}

// successPolicy is that of the protocol: the job succeeds with the first role
// that decides it, or with all roles if none decides it.
func (j *Spec) successPolicy() *jobset.SuccessPolicy {
	p := &jobset.SuccessPolicy{Operator: jobset.OperatorAll}
	for _, role := range j.TaskRoles {
		if role.MinSucceeded != NeverDecides {
			p.Operator = jobset.OperatorAny
			p.TargetReplicatedJobs = append(p.TargetReplicatedJobs, roleObject(role.Name))
		}
	}
	return p
}

// jobTemplate is the Indexed Job of one role: one index per instance.
func (j *Spec) jobTemplate(role TaskRole, user, texts string, labels map[string]string) batchv1.JobTemplateSpec {
	annotations := map[string]string{pai.AnnotationJobName: j.Name, AnnotationTaskRole: role.Name}
	n := int32(role.Instances)
	spec := batchv1.JobSpec{
		Parallelism:          &n,
		Completions:          &n,
		CompletionMode:       new(batchv1.IndexedCompletion),
		BackoffLimit:         new(int32(math.MaxInt32)), // each task has its own limit
		BackoffLimitPerIndex: new(int32(role.RetryCount)),
		MaxFailedIndexes:     role.maxFailed(), // of tasks without retries left
		PodReplacementPolicy: new(batchv1.Failed),
		// A task that the platform ended has not failed: it is restarted,
		// regardless of its retry count.
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action:          batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
		}}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: with(annotations, pai.AnnotationNetwork, labels[pai.LabelJob])},
			Spec:       j.podSpec(role, user, texts),
		},
	}
	if j.TimeLimit > 0 {
		spec.ActiveDeadlineSeconds = new(int64(j.TimeLimit / time.Second))
	}
	if role.MinSucceeded != NeverDecides && role.MinSucceeded < role.Instances {
		spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededCount: new(int32(role.MinSucceeded))}}}
	}
	return batchv1.JobTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
		Spec:       spec,
	}
}

func with(labels map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range labels {
		out[k] = v
	}
	return out
}
