package check

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

func twoReleases() []release.Manifest {
	of := func(name pai.Release, upstream string) release.Manifest {
		var m release.Manifest
		m.Metadata.Name, m.Services.Version, m.Kubernetes.Version, m.Kubernetes.Upstream = name, pai.ServicesVersion(name), pai.KubernetesVersion(name)+"-pai", upstream
		return m
	}
	return []release.Manifest{of("v0.9", "v1.35.4"), of("v0.10", "v1.36.3")}
}

func TestVersionSkewPolicy(t *testing.T) {
	t.Parallel()
	of := func(v string) *version.Version { return version.MustParseGeneric(v) }
	upstream := map[pai.KubernetesVersion]*version.Version{"old-pai": of("v1.31.0"), "v0.9-pai": of("v1.35.4"), "v0.10-pai": of("v1.36.3")}
	runs := func(roles ...any) plan.MachineState {
		m := plan.MachineState{Name: "m1", Joined: true, Roles: map[plan.Role]plan.RoleState{}}
		for i := 0; i < len(roles); i += 2 {
			m.Roles[roles[i].(plan.Role)] = plan.RoleState{Running: pai.KubernetesVersion(roles[i+1].(string))}
		}
		return m
	}
	node := func(kubelet string) corev1.NodeSystemInfo { return corev1.NodeSystemInfo{KubeletVersion: kubelet} }
	nine, ten := upstream["v0.9-pai"], upstream["v0.10-pai"]
	expect(t, []expectation{
		{"same versions", skewOn(runs(plan.RoleKubelet, "v0.9-pai", plan.RoleScheduler, "v0.9-pai"), node("v1.35.4"), upstream, nine, nine), OK, "kubelet v1.35.4"},
		{"kubelet one minor behind", skewOn(runs(plan.RoleKubelet, "v0.9-pai"), node("v1.35.4"), upstream, ten, ten), OK, ""},
		{"kubelet too far behind", skewOn(runs(plan.RoleKubelet, "old-pai"), node("v1.31.0"), upstream, ten, ten), Failed, "more than 3 minors behind"},
		{"scheduler ahead", skewOn(runs(plan.RoleScheduler, "v0.10-pai"), node(""), upstream, nine, nine), Failed, "scheduler 1.36.3 is newer"},
		{"scheduler ahead of one API server", skewOn(runs(plan.RoleScheduler, "v0.10-pai"), node(""), upstream, nine, ten), Failed, "newer than API server 1.35.4"},
		{"scheduler too far behind", skewOn(runs(plan.RoleScheduler, "old-pai"), node(""), upstream, ten, ten), Failed, "more than 1 minors"},
		{"version in no release", skewOn(runs(plan.RoleKubelet, "v0.7-pai"), node(""), upstream, ten, ten), Failed, "which is in no release"},
		{"another build of the same version", skewOn(runs(plan.RoleKubeProxy, "v0.10-pai+0123456789ab"), node(""), upstream, ten, ten), OK, ""},
		{"different version reported to the API", skewOn(runs(plan.RoleKubelet, "v0.9-pai"), node("v1.34.0"), upstream, ten, ten), Failed, "but reports v1.34.0 to the API"},
	})
	oldest, newest := apiServers([]plan.MachineState{runs(plan.RoleAPIServerA, "v0.10-pai+0123456789ab", plan.RoleAPIServerB, "v0.9-pai")}, upstreamOf(twoReleases()))
	if oldest.String() != "1.35.4" || newest.String() != "1.36.3" {
		t.Errorf("got oldest %s, newest %s", oldest, newest)
	}
}

func TestKubeletSupportsContainerRuntime(t *testing.T) {
	t.Parallel()
	k35, k36 := version.MustParseGeneric("v1.35.4"), version.MustParseGeneric("v1.36.3")
	expect(t, []expectation{
		{"containerd 2", runtimeFor("m1", "containerd://2.2.3", k36), OK, "containerd 2.2.3"},
		{"containerd 1.7, kubelet 1.35", runtimeFor("m1", "containerd://1.7.27", k35), OK, ""},
		{"containerd 1.7, kubelet 1.36", runtimeFor("m1", "containerd://1.7.27", k36), Failed, "needs 2.0.0"},
		{"containerd 1.6", runtimeFor("m1", "containerd://1.6.1", k35), Failed, "needs 1.7.0"},
		{"CRI-O", runtimeFor("m1", "cri-o://1.36.0", k36), Unknown, "cri-o"},
		{"unknown", runtimeFor("m1", "", k36), Unknown, ""},
	})
}
