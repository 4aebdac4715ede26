package job

import (
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"pai.dev/pai/internal/pai"
)

// podSpec is the pod of one task.
func (j *Spec) podSpec(role TaskRole, user, texts string) corev1.PodSpec {
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
		Command:                  []string{"/bin/sh", "-c", literal(launcher), "task", scriptOf(role), scriptDir + "/" + environmentFile},
		Env:                      j.environment(role, user),
		Resources:                corev1.ResourceRequirements{Requests: resources, Limits: resources},
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		VolumeMounts:             []corev1.VolumeMount{{Name: "script", MountPath: scriptDir, ReadOnly: true}},
	}
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever, // a task is retried as a new pod
		TerminationGracePeriodSeconds: new(int64(GracePeriod)),
		DNSPolicy:                     corev1.DNSClusterFirst,
		SchedulerName:                 corev1.DefaultSchedulerName,
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		// An unreachable machine does not end a job.
		Tolerations: []corev1.Toleration{
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
			{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		},
		Volumes: []corev1.Volume{scriptVolume(role, texts)},
	}
	if role.Kind != "" {
		spec.NodeSelector = map[string]string{pai.LabelMachineSKU: role.Kind}
	}
	if role.ShmMB > 0 {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "shm", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(role.ShmMB<<20, resource.BinarySI),
		}}})
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "shm", MountPath: "/dev/shm"})
	}
	if items := j.secretItems(role); len(items) > 0 {
		spec.Volumes = append(spec.Volumes, secretVolume(texts, items))
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "secret", MountPath: secretDir, ReadOnly: true})
	}
	j.mountStorages(role, user, &spec, &container)
	if len(j.Registries) > 0 {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: texts}}
	}
	spec.Containers = []corev1.Container{container}
	j.Containment.apply(&spec)
	return spec
}

// environment describes a task and its job, with the names of the protocol.
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
			corev1.EnvVar{Name: "PAI_MIN_FAILED_TASK_COUNT_" + r.Name, Value: strconv.Itoa(r.MinFailed)},
			corev1.EnvVar{Name: "PAI_MIN_SUCCEEDED_TASK_COUNT_" + r.Name, Value: strconv.Itoa(r.MinSucceeded)},
		)
	}
	return append(env,
		corev1.EnvVar{Name: "PAI_CURRENT_TASK_ROLE_NAME", Value: role.Name},
		fromPod("PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX", "metadata.annotations['"+batchv1.JobCompletionIndexAnnotation+"']"),
		fromPod("PAI_CONTAINER_HOST_IP", "status.podIP"),
		fromPod("PAI_TASK_FAILURES", "metadata.annotations['"+batchv1.JobIndexFailureCountAnnotation+"']"),
		fromPod("PAI_TASK_DISRUPTIONS", "metadata.annotations['"+batchv1.JobIndexIgnoredFailureCountAnnotation+"']"),
	)
}

// fromPod is a variable with a field of the pod.
func fromPod(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: field}}}
}
