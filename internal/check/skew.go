package check

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// skew is how many upstream minors a component may be behind the API server;
// none may be ahead of it (Kubernetes' version skew policy).
func skewOf(r plan.Role) (minors int, known bool) {
	switch r {
	case plan.RoleControllerManager, plan.RoleScheduler:
		return 1, true
	case plan.RoleKubelet, plan.RoleKubeProxy:
		return 3, true
	default:
		return 0, false
	}
}

// versionSkew holds what runs on every machine against the oldest and newest
// API server that runs, and against what the API says of it.
func versionSkew(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	nodes, err := w.api.nodes.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	reported := map[string]corev1.NodeSystemInfo{}
	for _, n := range nodes {
		reported[n.Name] = n.Status.NodeInfo
	}
	upstream := upstreamOf(w.Releases)
	oldest, newest := apiServers(w.World.Machines, upstream)
	if oldest == nil {
		return []Result{unknown("", fmt.Errorf("no API server runs whose version is known"))}
	}
	var all []Result
	for _, m := range w.World.Machines {
		if m.Unreachable == "" && m.Joined {
			all = append(all, skewOn(m, reported[m.Name], upstream, oldest, newest))
		}
	}
	return all
}

// upstreamOf maps PAI's names of Kubernetes versions to upstream's.
func upstreamOf(releases []release.Manifest) map[pai.KubernetesVersion]*version.Version {
	of := map[pai.KubernetesVersion]*version.Version{}
	for _, r := range releases {
		if v, err := version.ParseGeneric(r.Kubernetes.Upstream); err == nil {
			of[r.Kubernetes.Version] = v
		}
	}
	return of
}

func apiServers(machines []plan.MachineState, upstream map[pai.KubernetesVersion]*version.Version) (oldest, newest *version.Version) {
	for _, m := range machines {
		for _, r := range []plan.Role{plan.RoleAPIServerA, plan.RoleAPIServerB} {
			v := upstream[m.Roles[r].Running]
			if v == nil {
				continue
			}
			if oldest == nil || v.LessThan(oldest) {
				oldest = v
			}
			if newest == nil || newest.LessThan(v) {
				newest = v
			}
		}
	}
	return oldest, newest
}

func skewOn(m plan.MachineState, node corev1.NodeSystemInfo, upstream map[pai.KubernetesVersion]*version.Version, oldest, newest *version.Version) Result {
	var wrong []string
	for _, r := range []plan.Role{plan.RoleControllerManager, plan.RoleScheduler, plan.RoleKubelet, plan.RoleKubeProxy} {
		s, there := m.Roles[r]
		if !there || s.Running == "" {
			continue // that it does not run, the check components says
		}
		v, limit := upstream[s.Running], 0
		limit, _ = skewOf(r)
		switch {
		case v == nil:
			wrong = append(wrong, fmt.Sprintf("%s runs from %s, which no release carries", r, s.Running))
		case oldest.LessThan(v):
			wrong = append(wrong, fmt.Sprintf("%s %s is newer than API server %s", r, v, oldest))
		case int(newest.Minor())-int(v.Minor()) > limit:
			wrong = append(wrong, fmt.Sprintf("%s %s is more than %d minors behind API server %s", r, v, limit, newest))
		}
		if r == plan.RoleKubelet && v != nil && node.KubeletVersion != "" && node.KubeletVersion != "v"+v.String() {
			wrong = append(wrong, fmt.Sprintf("kubelet runs from %s, which is v%s, and tells the API that it is %s", s.Running, v, node.KubeletVersion))
		}
	}
	if len(wrong) > 0 {
		return failed(m.Name, "bring the machine to the cluster's version: paictl cluster k8s-bootup", "%s", strings.Join(wrong, "; "))
	}
	return okay(m.Name, "kubelet %s, %s, API server v%s", orNothing(node.KubeletVersion), orNothing(node.ContainerRuntimeVersion), newest)
}

// The oldest containerd that a kubelet of a minor works with: 1.35 is the last
// that takes containerd 1 (kubernetes/enhancements KEP-4033).
const (
	kubeletNeedsContainerd2 = 36
	oldestContainerd        = "2.0.0"
	oldestContainerdBefore  = "1.7.0"
)

// containerRuntime: a busy machine keeps its runtime, so the one that runs has
// to do for the kubelet that comes.
func containerRuntime(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	nodes, err := w.api.nodes.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	kubelet, err := version.ParseGeneric(w.Target.Kubernetes.Upstream)
	if err != nil {
		return []Result{unknown("", err)}
	}
	var all []Result
	for _, n := range nodes {
		all = append(all, runtimeFor(n.Name, n.Status.NodeInfo.ContainerRuntimeVersion, kubelet))
	}
	return all
}

func runtimeFor(name, runtime string, kubelet *version.Version) Result {
	kind, text, _ := strings.Cut(runtime, "://")
	if kind != "containerd" {
		return unknown(name, fmt.Errorf("its container runtime is %q, of which nothing is known", runtime))
	}
	v, err := version.ParseGeneric(text)
	if err != nil {
		return unknown(name, err)
	}
	oldest := version.MustParseGeneric(oldestContainerdBefore)
	if kubelet.Minor() >= kubeletNeedsContainerd2 {
		oldest = version.MustParseGeneric(oldestContainerd)
	}
	if v.LessThan(oldest) {
		return failed(name, "upgrade the machine's container runtime first, while it is idle",
			"it runs containerd %s, and kubelet %s needs %s or newer", v, kubelet, oldest)
	}
	return okay(name, "containerd %s suits kubelet %s", v, kubelet)
}

// resourceManagers: a kubelet refuses to start when its CPU or memory policy
// is not the one in its state file, and one that pins resources may fail pods
// when it starts again.
func resourceManagers(ctx context.Context, w *world) []Result {
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		if !w.observed(m.Hostname).Joined {
			return nil
		}
		return []Result{managersOf(m.Hostname, f)}
	})
}

func managersOf(name string, f machineFacts) Result {
	var kubelet struct {
		CPU    string `json:"cpuManagerPolicy"`
		Memory string `json:"memoryManagerPolicy"`
	}
	if len(f.KubeletConfig) == 0 {
		return unknown(name, fmt.Errorf("its kubelet's configuration was not found"))
	}
	if err := yaml.Unmarshal(f.KubeletConfig, &kubelet); err != nil {
		return unknown(name, fmt.Errorf("read its kubelet's configuration: %w", err))
	}
	var wrong, pinned []string
	for _, manager := range []struct {
		what, policy, none, file string
		state                    []byte
	}{
		{"CPU", kubelet.CPU, "none", layout.CPUManagerState, f.CPUState},
		{"memory", kubelet.Memory, "None", layout.MemoryManagerState, f.MemoryState},
	} {
		policy := manager.policy
		if policy == "" {
			policy = manager.none
		}
		var state struct {
			Policy string `json:"policyName"`
		}
		if len(manager.state) > 0 {
			if err := json.Unmarshal(manager.state, &state); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s is damaged: %v", manager.file, err))
				continue
			}
		}
		switch {
		case state.Policy != "" && state.Policy != policy:
			wrong = append(wrong, fmt.Sprintf("its %s policy is %q, and %s says %q: kubelet would not start again", manager.what, policy, manager.file, state.Policy))
		case policy != manager.none:
			pinned = append(pinned, fmt.Sprintf("its %s policy is %q", manager.what, policy))
		}
	}
	switch {
	case len(wrong) > 0:
		return failed(name, "once no job runs there: stop pai-kubelet, remove the file, start pai-kubelet", "%s", strings.Join(wrong, "; "))
	case len(pinned) > 0:
		return warning(name, "nothing: the guard waits until no job runs there", "%s, so its kubelet is not swapped under running jobs", strings.Join(pinned, "; "))
	default:
		return okay(name, "no policy pins CPUs or memory")
	}
}
