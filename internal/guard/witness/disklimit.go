package witness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// ownDiskLimit returns what the kubelet says about a pod that it evicted because the pod
// exceeded a disk limit in its specification; empty if that is not proven. For such
// an eviction the kubelet sets no condition DisruptionTarget, and its message names the
// limit (k8s.io/kubernetes/pkg/kubelet/eviction, localStorageEviction). A machine that is
// short of disk space evicts with both a condition and another message.
func ownDiskLimit(p *corev1.Pod) string {
	if p.Status.Phase != corev1.PodFailed || p.Status.Reason != reasonEvicted {
		return ""
	}
	if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget }) {
		return ""
	}
	message := strings.TrimSpace(p.Status.Message)
	if !slices.Contains(diskLimitMessages(p.Spec), message) {
		return ""
	}
	return message
}

// reasonEvicted is the kubelet's reason of a pod that it evicted, for any cause.
const reasonEvicted = "Evicted"

// diskLimitMessages are the kubelet's messages about the disk limits of a pod.
func diskLimitMessages(spec corev1.PodSpec) []string {
	var list []string
	for _, v := range spec.Volumes {
		if v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil && v.EmptyDir.SizeLimit.Sign() > 0 {
			list = append(list, fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q.", v.Name, v.EmptyDir.SizeLimit.String()))
		}
	}
	total := resource.Quantity{}
	for _, c := range spec.Containers {
		if limit := c.Resources.Limits.StorageEphemeral(); limit.Sign() > 0 {
			list = append(list, fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q.", c.Name, limit.String()))
			total.Add(*limit)
		}
	}
	if total.Sign() > 0 {
		list = append(list, fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s.", total.String()))
	}
	return list
}

// evictionTakes is how long after the first container of an evicted pod the last one can
// end: the kubelet ends them in parallel and gives them one second.
const evictionTakes = 5 * time.Second

// endedByEviction reports whether a container ended when its pod was evicted, not before.
func endedByEviction(p *corev1.Pod, e evidence) bool {
	var last time.Time
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	return e.exit != nil && !e.at.IsZero() && last.Sub(e.at) <= evictionTakes
}
