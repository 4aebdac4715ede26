package check

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/plan"
)

func TestRangesOfOtherNetworks(t *testing.T) {
	t.Parallel()
	k := config.Kubernetes{PodClusterIPRange: "10.244.0.0/16", ServiceClusterIPRange: "10.96.0.0/16"}
	has := func(networks ...inspect.Network) observedMachine {
		return unprepared(workerMachine(machineFacts{Condition: inspect.Condition{Networks: networks}}))
	}
	with := func(m observedMachine, r plan.Role) observedMachine {
		m.state.Roles = map[plan.Role]plan.RoleState{r: {Link: "v0.11-pai"}}
		return m
	}
	virtual := func(name, address string) inspect.Network {
		return inspect.Network{Interface: name, Address: address, Virtual: true}
	}
	cni0, own := virtual("cni0", "10.244.0.1/24"), inspect.Network{Interface: "eth0", Address: "10.0.0.2/8"}
	physical := inspect.Network{Interface: "eth1", Address: "10.244.7.9/24"}
	expect(t, []expectation{
		{"a clean machine", rangesOf(has(own), k), OK, ""},
		{"a bridge of flannel", rangesOf(has(own, cni0), k), Failed, "interface cni0 has 10.244.0.1/24, which is in the range of pods, 10.244.0.0/16"},
		{"the tunnel of flannel", rangesOf(has(virtual("flannel.1", "10.244.3.0/32")), k), Failed, "flannel.1"},
		{"addresses of services", rangesOf(has(virtual("kube-ipvs0", "10.96.0.10/32")), k), Failed, "interface kube-ipvs0 has 10.96.0.10/32, which is in the range of services, 10.96.0.0/16"},
		{"an address of the operator", rangesOf(has(physical), k), Failed, "interface eth1"},
		{"another range", rangesOf(has(virtual("cni0", "10.245.0.1/24")), k), OK, ""},
		{"the bridge of PAI", rangesOf(has(virtual("pai0", "10.244.0.1/24")), k), OK, ""},
		{"in the cluster", rangesOf(with(has(cni0), plan.RoleKubelet), k), OK, ""},
		{"with the network of PAI", rangesOf(with(has(virtual("flannel.1", "10.244.0.0/32")), plan.RoleNetwork), k), OK, ""},
		{"a machine whose kubelet was cleaned", rangesOf(with(has(cni0), plan.RoleRuntime), k), Failed, "cni0"},
		{"unknown", rangesOf(has(), k), Unknown, ""},
	})
	fix := rangesOf(has(cni0, virtual("cni0", "10.244.0.2/24"), virtual("kube-ipvs0", "10.96.0.1/32")), k).Fix
	if !strings.Contains(fix, "run: ip link delete cni0 && ip link delete kube-ipvs0;") || !strings.Contains(fix, "reboot") ||
		!strings.Contains(fix, "pod-cluster-ip-range and service-cluster-ip-range") {
		t.Errorf("got the fix %q", fix)
	}
	if fix := rangesOf(has(physical), k).Fix; strings.Contains(fix, "ip link delete") || !strings.Contains(fix, "set pod-cluster-ip-range") {
		t.Errorf("got the fix %q for the interface of a device, which cannot be deleted", fix)
	}
}
