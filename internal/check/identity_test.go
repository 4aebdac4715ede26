package check

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

func TestClusterID(t *testing.T) {
	t.Parallel()
	judgements(t, []judged{
		{"the same", sameID("lab", "lab", "lab", nil)[0], OK, `cluster "lab"`},
		{"none yet", sameID("lab", "", "", nil)[0], OK, "no cluster yet"},
		{"another's machines", sameID("lab", "prod", "", nil)[0], Failed, `cluster "prod"`},
		{"another's API", sameID("lab", "lab", "prod", nil)[0], Failed, `API is that of cluster "prod"`},
		{"known by its machines while the API is away", sameID("lab", "lab", "", errTest)[0], OK, ""},
		{"nothing says", sameID("lab", "", "", errTest)[0], Unknown, "hides"},
	})
}

func TestSupportPlan(t *testing.T) {
	t.Parallel()
	no := pai.Errorf(pai.CodeRefused, "go by v0.10", "v0.9 cannot reach v0.12")
	judgements(t, []judged{
		{"a way", supported(plan.Plan{Hops: []plan.Hop{{Kind: plan.HopServices, From: "v0.9", To: "v0.10"}}}, nil, "v0.10"), OK, "services v0.9 → v0.10"},
		{"there already", supported(plan.Plan{}, nil, "v0.10"), OK, "is what runs"},
		{"none", supported(plan.Plan{}, no, "v0.12"), Failed, "cannot reach"},
		{"a start that is not supported", supported(plan.Plan{Notes: []string{"mend"}}, nil, "v0.12"), Warning, "mend"},
		{"could not be planned", supported(plan.Plan{}, errTest, "v0.12"), Unknown, "hides"},
	})
}

func TestOperation(t *testing.T) {
	t.Parallel()
	pair := func(s pai.ServicesVersion, k pai.KubernetesVersion) pai.Pair {
		return pai.Pair{Services: s, Kubernetes: k}
	}
	left := func(to pai.Pair) Operation {
		return Operation{Unfinished: &pai.Operation{Verb: pai.VerbUpgrade, To: to, By: "ada@host", Started: time.Unix(0, 0).UTC()}}
	}
	ten := pair("v0.10", "v0.10-pai")
	judgements(t, []judged{
		{"none", under(Operation{}, ten), OK, ""},
		{"somebody is at it", under(Operation{Holder: "ada@host (process 7)"}, ten), Failed, "ada@host (process 7)"},
		{"left unfinished, the same", under(left(ten), ten), Warning, "left unfinished"},
		{"left unfinished, a part of it", under(left(pair("v0.9", "v0.10-pai")), ten), Warning, ""},
		{"left unfinished, further on", under(left(pair("v0.11", "v0.11-pai")), ten), Failed, "begun 1970-01-01 00:00 UTC by ada@host"},
	})
}

func TestJobsInTheWay(t *testing.T) {
	t.Parallel()
	some := inTheWay([]BlockedStep{{Step: "services/v0.10/storage", Jobs: []pai.JobRef{{User: "ada", Name: "train"}}, Reason: "it reads through it", Next: "wait"}}, 1)
	judgements(t, []judged{
		{"none", inTheWay(nil, 3)[0], OK, "3 jobs run"},
		{"one", some[0], Failed, "it reads through it; jobs: ada~train"},
	})
	if some[0].Target != "services/v0.10/storage" || some[0].Fix != "wait" {
		t.Errorf("%+v", some[0])
	}
}

func twoReleases() []release.Manifest {
	of := func(name pai.Release, upstream string) release.Manifest {
		var m release.Manifest
		m.Metadata.Name, m.Services.Version, m.Kubernetes.Version, m.Kubernetes.Upstream = name, pai.ServicesVersion(name), pai.KubernetesVersion(name)+"-pai", upstream
		return m
	}
	return []release.Manifest{of("v0.9", "v1.35.4"), of("v0.10", "v1.36.3")}
}

func TestVersionSkew(t *testing.T) {
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
	judgements(t, []judged{
		{"all the same", skewOn(runs(plan.RoleKubelet, "v0.9-pai", plan.RoleScheduler, "v0.9-pai"), node("v1.35.4"), upstream, nine, nine), OK, "kubelet v1.35.4"},
		{"a kubelet behind", skewOn(runs(plan.RoleKubelet, "v0.9-pai"), node("v1.35.4"), upstream, ten, ten), OK, ""},
		{"a kubelet too far behind", skewOn(runs(plan.RoleKubelet, "old-pai"), node("v1.31.0"), upstream, ten, ten), Failed, "more than 3 minors behind"},
		{"a scheduler ahead", skewOn(runs(plan.RoleScheduler, "v0.10-pai"), node(""), upstream, nine, nine), Failed, "scheduler 1.36.3 is newer"},
		{"a scheduler ahead of one of two", skewOn(runs(plan.RoleScheduler, "v0.10-pai"), node(""), upstream, nine, ten), Failed, "newer than API server 1.35.4"},
		{"a scheduler too far behind", skewOn(runs(plan.RoleScheduler, "old-pai"), node(""), upstream, ten, ten), Failed, "more than 1 minors"},
		{"of no release", skewOn(runs(plan.RoleKubelet, "v0.7-pai"), node(""), upstream, ten, ten), Failed, "no release carries"},
		{"tells the API another version", skewOn(runs(plan.RoleKubelet, "v0.9-pai"), node("v1.34.0"), upstream, ten, ten), Failed, "tells the API that it is v1.34.0"},
	})
	oldest, newest := apiServers([]plan.MachineState{runs(plan.RoleAPIServerA, "v0.10-pai", plan.RoleAPIServerB, "v0.9-pai")}, upstreamOf(twoReleases()))
	if oldest.String() != "1.35.4" || newest.String() != "1.36.3" {
		t.Errorf("from %s to %s", oldest, newest)
	}
}

func TestRuntimeForKubelet(t *testing.T) {
	t.Parallel()
	k35, k36 := version.MustParseGeneric("v1.35.4"), version.MustParseGeneric("v1.36.3")
	judgements(t, []judged{
		{"new", runtimeFor("m1", "containerd://2.2.3", k36), OK, "containerd 2.2.3"},
		{"1.7 under 1.35", runtimeFor("m1", "containerd://1.7.27", k35), OK, ""},
		{"1.7 under 1.36", runtimeFor("m1", "containerd://1.7.27", k36), Failed, "needs 2.0.0"},
		{"too old", runtimeFor("m1", "containerd://1.6.1", k35), Failed, "needs 1.7.0"},
		{"another", runtimeFor("m1", "cri-o://1.36.0", k36), Unknown, "cri-o"},
		{"none said", runtimeFor("m1", "", k36), Unknown, ""},
	})
}

func TestResourceManagers(t *testing.T) {
	t.Parallel()
	facts := func(config, cpu, memory string) machineFacts {
		return machineFacts{KubeletConfig: []byte(config), CPUState: []byte(cpu), MemoryState: []byte(memory)}
	}
	judgements(t, []judged{
		{"none", managersOf("m1", facts("kind: KubeletConfiguration\n", `{"policyName":"none"}`, `{"policyName":"None"}`)), OK, ""},
		{"no state yet", managersOf("m1", facts("cpuManagerPolicy: none\n", "", "")), OK, ""},
		{"static", managersOf("m1", facts("cpuManagerPolicy: static\n", `{"policyName":"static"}`, "")), Warning, `CPU policy is "static"`},
		{"changed", managersOf("m1", facts("cpuManagerPolicy: none\n", `{"policyName":"static"}`, "")), Failed, `says "static"`},
		{"memory changed", managersOf("m1", facts("memoryManagerPolicy: Static\n", "", `{"policyName":"None"}`)), Failed, "memory_manager_state"},
		{"damaged", managersOf("m1", facts("cpuManagerPolicy: none\n", "{", "")), Failed, "damaged"},
		{"nothing said", managersOf("m1", machineFacts{}), Unknown, ""},
		{"not to be read", managersOf("m1", facts("\t", "", "")), Unknown, ""},
	})
}

func TestContent(t *testing.T) {
	t.Parallel()
	to := twoReleases()[1]
	judgements(t, []judged{
		{"all there", contentOf(plan.MachineState{Programs: []pai.KubernetesVersion{"v0.10-pai"}, Images: []string{"sha256:x"}}, to, "sha256:x", 1<<30, 1<<30), OK, "is there"},
		{"nothing there", contentOf(plan.MachineState{}, to, "sha256:x", 2<<30, 1<<30), OK, "programs of Kubernetes v0.10-pai (up to 2.0 GiB), images of release v0.10 (1.0 GiB)"},
	})
	w := &world{Input: Input{Target: to, Releases: twoReleases(), Plan: plan.Plan{Steps: []plan.Step{
		{Kind: plan.KindPrograms, To: "v0.9-pai"}, {Kind: plan.KindService, To: "v0.10"}, {Kind: plan.KindImages, To: "v0.9"}}}}}
	var names []string
	for _, v := range w.releases() {
		names = append(names, string(v))
	}
	if got := strings.Join(names, " "); got != "v0.10 v0.9" {
		t.Errorf("bundles of %q", got)
	}
}
