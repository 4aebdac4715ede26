package running

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
)

// Pod converts a pod of a job.
func Pod(p *corev1.Pod) pai.Pod {
	pod := pai.Pod{
		Namespace: p.Namespace,
		Name:      p.Name,
		UID:       string(p.UID),
		Machine:   p.Spec.NodeName,
		Phase:     string(p.Status.Phase),
	}
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for _, s := range list {
			pod.Containers = append(pod.Containers, container(s))
		}
	}
	return pod
}

func container(s corev1.ContainerStatus) pai.Container {
	c := pai.Container{Name: s.Name, ID: ContainerID(s.ContainerID), Restarts: int(s.RestartCount), State: pai.ContainerWaiting}
	switch {
	case s.State.Running != nil:
		c.State = pai.ContainerRunning
		c.StartedAt = s.State.Running.StartedAt.UTC()
	case s.State.Terminated != nil:
		c.State = pai.ContainerExited
		c.StartedAt = s.State.Terminated.StartedAt.UTC()
		c.ExitCode = int(s.State.Terminated.ExitCode)
	}
	return c
}

// ContainerID removes the scheme of the runtime ("containerd://…") from an ID.
func ContainerID(id string) string {
	if _, bare, found := strings.Cut(id, "://"); found {
		return bare
	}
	return id
}

// JobOf returns the job of a pod, from the labels of PAI.
func JobOf(p *corev1.Pod) pai.JobRef { return refOf(p, p.Labels[pai.LabelJob]) }

func refOf(o metav1.Object, object string) pai.JobRef {
	return pai.JobRef{
		User:           o.GetLabels()[pai.LabelUser],
		Name:           cmp.Or(o.GetAnnotations()[pai.AnnotationJobName], object),
		VirtualCluster: o.GetLabels()[pai.LabelVirtualCluster],
	}
}
