package guard

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
)

// oldestSafeKubelet is the first minor version whose container hashes stay the
// same in later versions. Older kubelets restart all containers when they are
// replaced, and some containers when only the API server is replaced
// (kubernetes/kubernetes #124220, #129385, #128917).
const oldestSafeKubelet = "1.31.0"

func kubeletVersion(f Facts) string {
	for _, v := range []string{f.Kubelet.value.From, f.Kubelet.value.To} {
		if text := kubeletTooOld(v); text != "" {
			return text
		}
	}
	return ""
}

func kubeletTooOld(v string) string {
	parsed, err := version.ParseGeneric(v)
	if err != nil {
		return fmt.Sprintf("invalid kubelet version %q", v)
	}
	if parsed.LessThan(version.MustParseGeneric(oldestSafeKubelet)) {
		return fmt.Sprintf("kubelet %s is older than %s and restarts containers when it is replaced", v, oldestSafeKubelet)
	}
	return ""
}

// runtimeUp: a kubelet that starts without its container runtime fails pods
// (openshift/kubernetes #1618).
func runtimeUp(f Facts) string {
	if !f.RuntimeUp.value {
		return "the container runtime is not responding"
	}
	return ""
}

// nodeReady: a problem that exists before the kubelet is replaced would look
// like a result of the replacement. If no kubelet runs, or only one whose identity has
// ended, the node cannot be ready, and starting a kubelet is the fix.
func nodeReady(f Facts) string {
	if !f.KubeletRuns.value {
		return ""
	}
	for _, c := range f.Node.value.Status.Conditions {
		switch {
		case c.Type != corev1.NodeReady:
		case c.Status == corev1.ConditionTrue:
			return ""
		default:
			return "the node is not ready: " + strings.TrimSpace(c.Reason+" "+c.Message)
		}
	}
	return "the node does not report whether it is ready"
}

// cpuManager and memoryManager: a static policy fails running pods when the
// kubelet restarts (kubernetes/kubernetes #123971, #123859).
func cpuManager(f Facts) string {
	c := f.Config.value
	return policy("CPU manager", "none", c.From.CPUManagerPolicy, c.To.CPUManagerPolicy)
}

func memoryManager(f Facts) string {
	c := f.Config.value
	return policy("memory manager", "None", c.From.MemoryManagerPolicy, c.To.MemoryManagerPolicy)
}

// topologyManager: all policies but none and best-effort reject pods.
func topologyManager(f Facts) string {
	c := f.Config.value
	if c.From.TopologyManagerPolicy == "best-effort" && c.To.TopologyManagerPolicy == "best-effort" {
		return ""
	}
	return policy("topology manager", "none", c.From.TopologyManagerPolicy, c.To.TopologyManagerPolicy)
}

// policy treats an empty policy as the kubelet's default, which is none for all
// three managers.
func policy(manager, none string, policies ...string) string {
	for _, p := range policies {
		if p != "" && p != none {
			return fmt.Sprintf("the %s policy of the kubelet is %q, which fails running pods when the kubelet restarts", manager, p)
		}
	}
	return ""
}

// cgroupDriver: a kubelet with another driver does not find the cgroups of its pods.
func cgroupDriver(f Facts) string {
	if c := f.Config.value; c.From.CgroupDriver != c.To.CgroupDriver {
		return fmt.Sprintf("the cgroup driver of the kubelet would change from %q to %q", c.From.CgroupDriver, c.To.CgroupDriver)
	}
	return ""
}

// reservations: a restarted kubelet admits its running pods again, so the
// allocatable resources must not shrink.
func reservations(f Facts) string {
	from, to := f.Config.value.From.Reserved, f.Config.value.To.Reserved
	keys := slices.AppendSeq(slices.Collect(maps.Keys(from)), maps.Keys(to))
	slices.Sort(keys)
	var changes []string
	for _, key := range slices.Compact(keys) {
		if from[key] != to[key] {
			changes = append(changes, fmt.Sprintf("%s from %q to %q", key, from[key], to[key]))
		}
	}
	if len(changes) == 0 {
		return ""
	}
	return "the reservations of the kubelet would change: " + strings.Join(changes, ", ")
}

// runtimeVersion: containerd does not serve the shims of another major version
// (containerd #12727, #11720).
func runtimeVersion(f Facts) string {
	change := f.Runtime.value
	var majors []uint
	for _, v := range []string{change.From, change.To} {
		parsed, err := version.ParseGeneric(v)
		if err != nil {
			return fmt.Sprintf("invalid container runtime version %q", v)
		}
		majors = append(majors, parsed.Major())
	}
	if majors[0] != majors[1] {
		return fmt.Sprintf("the major version of the container runtime would change, from %s to %s", change.From, change.To)
	}
	return ""
}

func runtimeCgroups(f Facts) string {
	if c := f.RuntimeCgroups.value; c.From != c.To {
		return fmt.Sprintf("the cgroup driver of the container runtime would change from %q to %q", c.From, c.To)
	}
	return ""
}

// runtimeKillMode: the shims of the containers live in the unit of the container
// runtime. They survive a stop of the unit only if systemd ends nothing but the
// main process.
func runtimeKillMode(f Facts) string {
	if mode := f.RuntimeKillMode.value; mode != "process" {
		return fmt.Sprintf("the unit of the container runtime has KillMode=%s, so stopping it would end every container", mode)
	}
	return ""
}
