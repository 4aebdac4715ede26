package check

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestUnconfigured(t *testing.T) {
	t.Parallel()
	run := func(evaluate evaluateFunc, u plan.Unconfigured, target pai.KubernetesVersion) Result {
		in := unobservable()
		in.Releases, in.Pair.Kubernetes, in.World.Unconfigured = twoReleases(), target, u
		return only(evaluate(t.Context(), &world{Input: in}))
	}
	node := func(kubelet string) plan.Unconfigured {
		return plan.Unconfigured{Nodes: []plan.UnconfiguredNode{{Name: "gpu-09", Address: "10.0.0.9", Kubelet: kubelet, Ready: true}}}
	}
	machines := func(m ...plan.UnconfiguredMachine) plan.Unconfigured {
		return plan.Unconfigured{Machines: append([]plan.UnconfiguredMachine{}, m...)}
	}
	members := func(m ...plan.UnconfiguredMember) plan.Unconfigured {
		return plan.Unconfigured{EtcdMembers: append([]plan.UnconfiguredMember{}, m...)}
	}
	services := func(s ...plan.UnconfiguredService) plan.Unconfigured {
		return plan.Unconfigured{Services: append([]plan.UnconfiguredService{}, s...)}
	}
	reachable := func() Result { // as on a host with the bundle of the newer release alone
		cfg := &config.Config{}
		cfg.Services.Cluster.Common.Release = "v0.10"
		return only(unconfiguredServices(t.Context(), &world{Input: Input{Config: cfg, World: plan.World{APIReachable: true}}}))
	}
	files := func(f []string) Result { return foreignFiles(observedMachine{state: plan.MachineState{Foreign: f}}) }
	stranger := plan.UnconfiguredService{Name: "stranger", Installed: plan.Installed{Release: "v0.8", Ready: true}}
	failedRead := plan.Unconfigured{MachinesError: "permission denied"}
	expect(t, []expectation{
		{"nodes unknown", run(unconfiguredNodes, plan.Unconfigured{}, "v0.10-pai"), Unknown, "connection refused"},
		{"no node", run(unconfiguredNodes, plan.Unconfigured{Nodes: []plan.UnconfiguredNode{}}, "v0.10-pai"), OK, ""},
		{"a node that fits", run(unconfiguredNodes, node("v1.35.4"), "v0.10-pai"), Warning, "10.0.0.9, kubelet v1.35.4, ready"},
		{"three minors behind", run(unconfiguredNodes, node("v1.33.9"), "v0.10-pai"), Warning, ""},
		{"four minors behind", run(unconfiguredNodes, node("v1.32.9"), "v0.10-pai"), Failed, "too old for API server v1.36.3"},
		{"four minors behind the next", run(unconfiguredNodes, node("v1.32.9"), "v0.9-pai"), Warning, ""},
		{"a kubelet of unknown version", run(unconfiguredNodes, node(""), "v0.10-pai"), Failed, "kubelet unknown"},
		{"a target of unknown version", run(unconfiguredNodes, node("v1.35.4"), "v0.12-pai"), Failed, "API server unknown"},

		{"machines unknown", run(unconfiguredMachines, failedRead, ""), Unknown, "permission denied"},
		{"no machine", run(unconfiguredMachines, machines(), ""), OK, ""},
		{"a machine", run(unconfiguredMachines, machines(plan.UnconfiguredMachine{Name: "gpu-09", Address: "10.0.0.9"}), ""), Warning, "(10.0.0.9)"},

		{"a record of a maintenance", run(unconfiguredMachines, plan.Unconfigured{Machines: []plan.UnconfiguredMachine{}, Maintained: []string{"gpu-09"}}, ""), Warning, "its removal might be unfinished"},
		{"a machine with its record", run(unconfiguredMachines, plan.Unconfigured{Machines: []plan.UnconfiguredMachine{{Name: "gpu-09", Address: "10.0.0.9"}}, Maintained: []string{"gpu-09"}}, ""), Warning, "(10.0.0.9)"},

		{"files unknown", files(nil), Unknown, "did not report"},
		{"no files", files([]string{}), OK, "none"},
		{"files", files([]string{"/etc/pai/a", "/var/lib/pai/b"}), OK, "left alone: /etc/pai/a, /var/lib/pai/b"},
		{"many files", files(strings.Fields("a b c d e f g h i j k l")), OK, "j, and 2 more"},

		{"members unknown", run(unconfiguredMembers, plan.Unconfigured{EtcdError: "no quorum"}, ""), Unknown, "no quorum"},
		{"no member", run(unconfiguredMembers, members(), ""), OK, ""},
		{"a voter", run(unconfiguredMembers, members(plan.UnconfiguredMember{ID: "9a", Name: "x", PeerURLs: []string{"https://10.0.0.9:2380"}, Started: true}), ""), Failed, "voter, started); it counts for the quorum"},
		{"a learner", run(unconfiguredMembers, members(plan.UnconfiguredMember{ID: "9a", Learner: true}), ""), Failed, "learner, not started); etcd allows one learner"},

		{"services unknown", run(unconfiguredServices, plan.Unconfigured{}, ""), Unknown, "connection refused"},
		{"services of a release without its bundle", reachable(), Warning, "the services of release v0.10"},
		{"no service", run(unconfiguredServices, services(), ""), OK, ""},
		{"a service", run(unconfiguredServices, services(stranger), ""), Warning, "(release v0.8, ready)"},
	})
	if fix := run(unconfiguredServices, services(stranger), "").Fix; !strings.HasSuffix(fix, "run: paictl service delete stranger") {
		t.Errorf("the fix of a service is %q", fix)
	}
	for what, fix := range map[string]string{"node": run(unconfiguredNodes, node("v1.35.4"), "v0.10-pai").Fix,
		"machine": run(unconfiguredMachines, machines(plan.UnconfiguredMachine{Name: "gpu-09"}), "").Fix,
		"record":  run(unconfiguredMachines, plan.Unconfigured{Machines: []plan.UnconfiguredMachine{}, Maintained: []string{"gpu-09"}}, "").Fix} {
		if !strings.HasSuffix(fix, "run: paictl machine remove gpu-09") {
			t.Errorf("the fix of a %s is %q", what, fix)
		}
	}
	if r := run(unconfiguredMembers, members(plan.UnconfiguredMember{ID: "9a"}), ""); r.Target != "9a" || !strings.HasSuffix(r.Fix, "run: etcdctl member remove 9a") {
		t.Errorf("got %+v, want the ID of a member without a name", r)
	}
}
