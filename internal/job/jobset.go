package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
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
	// not "default": where a queue of that name exists, Kueue refuses to take
	// LabelQueue off a stopped job.
	QueueName = "jobs"
	// LabelQueue is Kueue's label for the queue that admits an object
	// (sigs.k8s.io/kueue/pkg/controller/constants).
	LabelQueue = "kueue.x-k8s.io/queue-name"
	// AnnotationProtocol holds the job as its user wrote it.
	AnnotationProtocol = "pai.dev/protocol"
	// AnnotationTaskRole holds a task role's name as its user wrote it.
	AnnotationTaskRole = "pai.dev/task-role-name"

	// ContainerName is the name of a task's container.
	ContainerName = "task"
	// GracePeriod is how many seconds a task that is stopped has to end.
	GracePeriod = 30

	gpuResource = "nvidia.com/gpu" // NVIDIA's device plugin
)

// JobSet is what runs the job of a user; text is the job as he wrote it. All
// of the job is in this one object, so that it exists whole or not at all.
//
// It is created suspended, and it is Kueue that resumes it. Every default of
// the kinds involved is spelled out: what a running job depends on must not
// change when a later release brings other defaults.
func (j *Spec) JobSet(user string, text []byte) (*unstructured.Unstructured, error) {
	object := ObjectName(user, j.Name)
	labels := map[string]string{
		pai.LabelJob:            object,
		pai.LabelUser:           user,
		pai.LabelVirtualCluster: j.VirtualCluster,
	}
	js := jobset.JobSet{
		TypeMeta: metav1.TypeMeta{APIVersion: jobset.GroupVersion.String(), Kind: "JobSet"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        object,
			Namespace:   Namespace(j.VirtualCluster),
			Labels:      with(labels, LabelQueue, QueueName),
			Annotations: map[string]string{pai.AnnotationJobName: j.Name, AnnotationProtocol: string(text)},
		},
		Spec: jobset.JobSetSpec{
			Suspend:       new(true),
			Network:       &jobset.Network{EnableDNSHostnames: new(true), PublishNotReadyAddresses: new(true)},
			StartupPolicy: &jobset.StartupPolicy{StartupPolicyOrder: jobset.AnyOrder},
			SuccessPolicy: j.successPolicy(),
			// A restarted job starts after all of its tasks have ended.
			FailurePolicy: &jobset.FailurePolicy{RestartStrategy: jobset.BlockingRecreate},
		},
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
			Template:  j.jobTemplate(role, user, with(labels, pai.LabelTaskRole, roleLabel(role.Name))),
		})
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&js)
	if err != nil {
		return nil, fmt.Errorf("make the JobSet of job %q: %w", j.Name, err)
	}
	unstructured.RemoveNestedField(m, "status")
	// The type leaves out a zero, and no default is left to a later release.
	if err := unstructured.SetNestedField(m, int64(j.RetryCount), "spec", "failurePolicy", "maxRestarts"); err != nil {
		return nil, fmt.Errorf("make the JobSet of job %q: %w", j.Name, err)
	}
	return &unstructured.Unstructured{Object: m}, nil
}

// successPolicy is the protocol's: the job succeeds with the first role that
// decides it, or, when none does, with all of them.
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
func (j *Spec) jobTemplate(role TaskRole, user string, labels map[string]string) batchv1.JobTemplateSpec {
	annotations := map[string]string{pai.AnnotationJobName: j.Name, AnnotationTaskRole: role.Name}
	n := int32(role.Instances)
	spec := batchv1.JobSpec{
		Parallelism:          &n,
		Completions:          &n,
		CompletionMode:       new(batchv1.IndexedCompletion),
		BackoffLimit:         new(int32(math.MaxInt32)), // each task has its own limit
		BackoffLimitPerIndex: new(int32(role.RetryCount)),
		MaxFailedIndexes:     new(int32(0)), // the first task that failed for good fails the job
		PodReplacementPolicy: new(batchv1.Failed),
		// A task that the platform ended has not failed: it runs again,
		// whatever its retry count.
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action:          batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
		}}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
			Spec:       j.podSpec(role, user),
		},
	}
	if role.MinSucceeded != NeverDecides && role.MinSucceeded < role.Instances {
		spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededCount: new(int32(role.MinSucceeded))}}}
	}
	return batchv1.JobTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
		Spec:       spec,
	}
}

func (j *Spec) podSpec(role TaskRole, user string) corev1.PodSpec {
	resources := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(role.CPUMilli, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(role.MemoryMB<<20, resource.BinarySI),
	}
	if role.GPU > 0 {
		resources[gpuResource] = *resource.NewQuantity(role.GPU, resource.DecimalSI)
	}
	container := corev1.Container{
		Name:                     ContainerName,
		Image:                    role.Image,
		ImagePullPolicy:          corev1.PullIfNotPresent,
		Command:                  []string{"/bin/sh", "-c", literal(launcher), "task", literal(taskScript(role.Commands))},
		Env:                      j.environment(role, user),
		Resources:                corev1.ResourceRequirements{Requests: resources, Limits: resources},
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	}
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever, // a task is retried as a new pod
		TerminationGracePeriodSeconds: new(int64(GracePeriod)),
		DNSPolicy:                     corev1.DNSClusterFirst,
		SchedulerName:                 corev1.DefaultSchedulerName,
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		SecurityContext:               &corev1.PodSecurityContext{},
		// A machine that is away for a while ends no job.
		Tolerations: []corev1.Toleration{
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
			{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		},
	}
	if role.ShmMB > 0 {
		spec.Volumes = []corev1.Volume{{Name: "shm", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(role.ShmMB<<20, resource.BinarySI),
		}}}}
		container.VolumeMounts = []corev1.VolumeMount{{Name: "shm", MountPath: "/dev/shm"}}
	}
	spec.Containers = []corev1.Container{container}
	return spec
}

// environment is what a task is told about itself and its job, under the
// protocol's names.
func (j *Spec) environment(role TaskRole, user string) []corev1.EnvVar {
	names := make([]string, len(j.TaskRoles))
	for i, r := range j.TaskRoles {
		names[i] = r.Name
	}
	env := []corev1.EnvVar{
		{Name: "PAI_JOB_NAME", Value: j.Name},
		{Name: "PAI_USER_NAME", Value: user},
		{Name: "PAI_VIRTUAL_CLUSTER", Value: j.VirtualCluster},
		{Name: "PAI_TASK_ROLE_COUNT", Value: strconv.Itoa(len(names))},
		{Name: "PAI_TASK_ROLE_LIST", Value: strings.Join(names, ",")},
	}
	for _, r := range j.TaskRoles {
		env = append(env,
			corev1.EnvVar{Name: "PAI_TASK_ROLE_TASK_COUNT_" + r.Name, Value: strconv.Itoa(r.Instances)},
			corev1.EnvVar{Name: "PAI_MIN_FAILED_TASK_COUNT_" + r.Name, Value: "1"},
			corev1.EnvVar{Name: "PAI_MIN_SUCCEEDED_TASK_COUNT_" + r.Name, Value: strconv.Itoa(r.MinSucceeded)},
		)
	}
	return append(env,
		corev1.EnvVar{Name: "PAI_CURRENT_TASK_ROLE_NAME", Value: role.Name},
		corev1.EnvVar{Name: "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX", ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.annotations['" + batchv1.JobCompletionIndexAnnotation + "']"},
		}},
	)
}

func with(labels map[string]string, key, value string) map[string]string {
	out := map[string]string{key: value}
	for k, v := range labels {
		out[k] = v
	}
	return out
}
