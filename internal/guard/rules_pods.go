package guard

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	resourcehelper "k8s.io/component-helpers/resource"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"pai.dev/pai/internal/pai"
)

// nodeAffinity: a restarted kubelet rejects running pods that no longer match
// the labels of the node (kubernetes/kubernetes #124586, #123980).
func nodeAffinity(f Facts) string {
	for _, p := range f.Pods.value {
		fits, err := nodeaffinity.GetRequiredNodeAffinity(&p).Match(f.Node.value)
		if err != nil {
			return fmt.Sprintf("pod %s has an invalid node affinity: %v", name(p), err)
		}
		if !fits {
			return fmt.Sprintf("pod %s no longer matches the labels of the node", name(p))
		}
	}
	return ""
}

// taints: the admission of a kubelet considers only NoExecute taints.
func taints(f Facts) string {
	noExecute := func(t *corev1.Taint) bool { return t.Effect == corev1.TaintEffectNoExecute }
	for _, p := range f.Pods.value {
		taint, found := scheduling.FindMatchingUntoleratedTaint(logr.Discard(), f.Node.value.Spec.Taints, p.Spec.Tolerations, noExecute, false)
		if found {
			return fmt.Sprintf("pod %s does not tolerate taint %s of the node", name(p), taint.ToString())
		}
	}
	return ""
}

func name(p corev1.Pod) string { return p.Namespace + "/" + p.Name }

// resources: all pods together must still fit the allocatable resources.
func resources(f Facts) string {
	return overcommitted(f, func(r corev1.ResourceName) bool { return !extended(r) })
}

// devices: the device plugins must have registered again and must still offer
// what the running pods use (kubernetes/kubernetes #118559).
func devices(f Facts) string { return overcommitted(f, extended) }

func overcommitted(f Facts, which func(corev1.ResourceName) bool) string {
	sum := corev1.ResourceList{}
	for _, p := range f.Pods.value {
		for r, q := range resourcehelper.PodRequests(&p, resourcehelper.PodResourcesOptions{UseStatusResources: true}) {
			total := sum[r]
			total.Add(q)
			sum[r] = total
		}
	}
	for _, r := range slices.Sorted(maps.Keys(sum)) {
		need, have := sum[r], f.Node.value.Status.Allocatable[r]
		if which(r) && need.Cmp(have) > 0 {
			return fmt.Sprintf("the running pods use %s of %s, but the node offers %s", need.String(), r, have.String())
		}
	}
	return ""
}

// extended reports whether a device plugin offers the resource: its name then
// starts with a domain outside Kubernetes.
func extended(r corev1.ResourceName) bool {
	return strings.Contains(string(r), "/") && !strings.Contains(string(r), "kubernetes.io/")
}

// sidecarStorage: from 1.37 on, a kubelet evicts a pod whose sidecar uses more
// ephemeral storage than its limit (kubernetes/kubernetes #138462). The kubelet that
// admitted the pod did not.
func sidecarStorage(f Facts) string {
	if !enforcesSidecarStorage(f.Kubelet.value.To) || enforcesSidecarStorage(f.Kubelet.value.From) {
		return ""
	}
	for _, p := range f.Pods.value {
		for _, c := range p.Spec.InitContainers {
			_, limited := c.Resources.Limits[corev1.ResourceEphemeralStorage]
			if sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways; sidecar && limited {
				return fmt.Sprintf("kubelet %s enforces the ephemeral-storage limit of sidecar %s of pod %s, which the running kubelet does not", f.Kubelet.value.To, c.Name, name(p))
			}
		}
	}
	return ""
}

func enforcesSidecarStorage(kubelet string) bool {
	v, err := version.ParseGeneric(kubelet)
	return err == nil && v.AtLeast(version.MustParseGeneric("1.37.0"))
}

// sandboxes: a kubelet re-creates the sandbox of a pod without an IP address,
// and with the sandbox every container of the pod.
func sandboxes(f Facts) string {
	for _, p := range f.Pods.value {
		if p.Labels[pai.LabelJob] != "" && p.Status.Phase == corev1.PodRunning && !p.Spec.HostNetwork && p.Status.PodIP == "" {
			return fmt.Sprintf("pod %s has no IP address; the kubelet would re-create its sandbox and containers", name(p))
		}
	}
	return ""
}
