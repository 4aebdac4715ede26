package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

func versionChecks() []Check {
	return []Check{
		{"version-skew", "the version of every component fits the API server", Upgrade, onCluster(versionSkew)},
		{"machine-runtime", "the kubelet of the release supports the container runtime", Upgrade, onNodes(containerRuntime)},
	}
}

// skewLimits are how many upstream minors each component can be behind the API
// server. None can be ahead of it (version skew policy of Kubernetes).
var skewLimits = []struct {
	role   plan.Role
	minors int
}{{plan.RoleControllerManager, 1}, {plan.RoleScheduler, 1}, {plan.RoleKubelet, 3}, {plan.RoleKubeProxy, 3}}

// versionSkew compares the components on every machine with the oldest and the
// newest running API server, and with the report of the API.
func versionSkew(ctx context.Context, w *world) ([]Result, error) {
	nodes, err := w.api.nodes.get(ctx)
	if err != nil {
		return nil, err
	}
	reported := map[string]corev1.NodeSystemInfo{}
	for _, n := range nodes {
		reported[n.Name] = n.Status.NodeInfo
	}
	upstream := upstreamOf(w.Releases)
	oldest, newest := apiServers(w.World.Machines, upstream)
	if oldest == nil {
		return nil, errors.New("no API server with a known version runs")
	}
	var all []Result
	for _, m := range w.World.Machines {
		if m.Unreachable == "" && m.Joined {
			all = append(all, skewOn(m, reported[m.Name], upstream, oldest, newest))
		}
	}
	return all, nil
}

// upstreamOf returns the upstream version of each Kubernetes version of PAI.
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
			v := upstream[m.Roles[r].Running.Label()]
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
	var problems []string
	for _, limit := range skewLimits {
		r := limit.role
		running := m.Roles[r].Running
		if running == "" {
			continue // the check components reports it
		}
		v := upstream[running.Label()]
		switch {
		case v == nil:
			problems = append(problems, fmt.Sprintf("%s runs from %s, which is in no release", r, running))
		case oldest.LessThan(v):
			problems = append(problems, fmt.Sprintf("%s %s is newer than API server %s", r, v, oldest))
		case int(newest.Minor())-int(v.Minor()) > limit.minors:
			problems = append(problems, fmt.Sprintf("%s %s is more than %d minors behind API server %s", r, v, limit.minors, newest))
		}
		if r == plan.RoleKubelet && v != nil && node.KubeletVersion != "" && node.KubeletVersion != "v"+v.String() {
			problems = append(problems, fmt.Sprintf("kubelet runs from %s, which is v%s, but reports %s to the API", running, v, node.KubeletVersion))
		}
	}
	return summary(m.Name, "update the machine; run: paictl cluster k8s-bootup", problems, nil,
		"kubelet %s, %s, API server v%s", cmp.Or(node.KubeletVersion, "unknown"), cmp.Or(node.ContainerRuntimeVersion, "unknown"), newest)
}

// The oldest containerd that a kubelet supports: 1.35 is the last minor that
// supports containerd 1 (kubernetes/enhancements KEP-4033).
const (
	kubeletNeedsContainerd2 = 36
	oldestContainerd        = "2.0.0"
	oldestContainerdBefore  = "1.7.0"
)

// containerRuntime: a machine with running jobs keeps its container runtime, so
// the next kubelet must support the running one.
func containerRuntime(w *world, n *corev1.Node) Result {
	kubelet, err := version.ParseGeneric(w.Target.Kubernetes.Upstream)
	if err != nil {
		return unknown(n.Name, err)
	}
	return runtimeFor(n.Name, n.Status.NodeInfo.ContainerRuntimeVersion, kubelet)
}

func runtimeFor(name, runtime string, kubelet *version.Version) Result {
	kind, text, _ := strings.Cut(runtime, "://")
	if kind != "containerd" {
		return unknownf(name, "unsupported container runtime %q", runtime)
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
		return failed(name, "first upgrade the container runtime of the machine, while it is idle",
			"containerd %s runs, and kubelet %s needs %s or newer", v, kubelet, oldest)
	}
	return okay(name, "kubelet %[2]s supports containerd %[1]s", v, kubelet)
}
