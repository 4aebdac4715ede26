package running

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/pai"
)

// Pod is a pod of a job in PAI's terms.
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

// ContainerID is an ID of the API without the runtime's scheme
// ("containerd://…").
func ContainerID(id string) string {
	if _, bare, found := strings.Cut(id, "://"); found {
		return bare
	}
	return id
}

// JobOf names the job that a pod belongs to, from the labels PAI gave it.
func JobOf(p *corev1.Pod) pai.JobRef {
	ref := pai.JobRef{
		User:           p.Labels[pai.LabelUser],
		Name:           p.Annotations[pai.AnnotationJobName],
		VirtualCluster: p.Labels[pai.LabelVirtualCluster],
	}
	if ref.Name == "" {
		ref.Name = p.Labels[pai.LabelJob]
	}
	return ref
}
