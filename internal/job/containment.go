package job

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"pai.dev/pai/internal/pai"
)

const (
	// DefaultDiskMB is the disk space that a task can fill if its virtual cluster
	// sets no other limit.
	DefaultDiskMB = 10 << 10
	// reservedDiskMB is the disk space that the scheduler counts for a task. Most
	// tasks write little, so it is far less than the limit.
	reservedDiskMB = 256
)

// Containment is what the operator sets for the tasks of a virtual cluster. The zero
// value has the defaults.
type Containment struct {
	// Capabilities are granted in addition to pai.TaskCapabilities.
	Capabilities []string `json:"capabilities,omitempty"`
	// DiskMB is the disk space in MiB that a task can fill: the files of its
	// container that are in no volume, and its output. Zero is DefaultDiskMB.
	DiskMB int64 `json:"diskMB,omitempty"`
}

// apply confines the pod of a task: it can call only what the runtime allows by
// default, gains no privileges, has few capabilities, and is ended when it fills more
// disk space than its limit.
func (c Containment) apply(pod *corev1.PodSpec) {
	pod.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	var capabilities []corev1.Capability
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(pai.TaskCapabilities(), c.Capabilities)))) {
		capabilities = append(capabilities, corev1.Capability(name))
	}
	limit := cmp.Or(c.DiskMB, DefaultDiskMB)
	for i := range pod.Containers {
		container := &pod.Containers[i]
		container.SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false),
			Privileged:               new(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: capabilities},
		}
		container.Resources.Limits = withDisk(container.Resources.Limits, limit)
		container.Resources.Requests = withDisk(container.Resources.Requests, min(limit, reservedDiskMB))
	}
}

// withDisk returns a copy of resources with disk space.
func withDisk(resources corev1.ResourceList, mb int64) corev1.ResourceList {
	own := resources.DeepCopy()
	own[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(mb<<20, resource.BinarySI)
	return own
}
