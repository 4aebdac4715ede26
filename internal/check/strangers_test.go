package check

import (
	"testing"

	"pai.dev/pai/internal/inspect"
)

func TestStrangers(t *testing.T) {
	t.Parallel()
	with := func(s inspect.Strangers) observedMachine {
		return workerMachine(machineFacts{Condition: inspect.Condition{Strangers: &s}})
	}
	controlPlane := func(s inspect.Strangers) observedMachine {
		return controlPlaneMachine(machineFacts{Condition: inspect.Condition{Strangers: &s}})
	}
	joined := func(m observedMachine) observedMachine { return m }
	fresh := func(m observedMachine) observedMachine { m.state.Roles = nil; return m } // its identity can be there
	runs := inspect.OtherRuntime{Program: "/usr/bin/containerd", Running: true}
	starts := inspect.OtherRuntime{Program: "containerd.service"}
	drops := func(rules string) inspect.Strangers {
		return inspect.Strangers{Forward: []inspect.ForwardChain{{Table: "ip filter", Chain: "FORWARD", Rules: rules}}}
	}
	const pods = "10.244.0.0/16"
	nothing := workerMachine(machineFacts{})
	expect(t, []expectation{
		{"a clean machine", otherRuntimes(with(inspect.Strangers{})), OK, ""},
		{"a runtime that runs", otherRuntimes(joined(with(inspect.Strangers{Runtimes: []inspect.OtherRuntime{runs}}))), Failed, "/usr/bin/containerd runs"},
		{"a runtime that will start", otherRuntimes(fresh(with(inspect.Strangers{Runtimes: []inspect.OtherRuntime{starts}}))), Failed, "containerd.service starts"},
		{"a runtime that will start, in a cluster", otherRuntimes(joined(with(inspect.Strangers{Runtimes: []inspect.OtherRuntime{starts}}))), Warning, "next boot"},
		{"runtimes unknown", otherRuntimes(nothing), Unknown, ""},

		{"no other kubelet", otherKubelets(with(inspect.Strangers{})), OK, ""},
		{"a kubelet that will start", otherKubelets(fresh(with(inspect.Strangers{Kubelets: []string{"kubelet.service"}}))), Failed, "kubelet.service starts another kubelet"},
		{"a kubelet that will start, in a cluster", otherKubelets(joined(with(inspect.Strangers{Kubelets: []string{"k3s.service"}}))), Warning, "next boot"},
		{"kubelets unknown", otherKubelets(nothing), Unknown, ""},

		{"no other network", cniFiles(with(inspect.Strangers{})), OK, ""},
		{"another network", cniFiles(with(inspect.Strangers{CNI: []string{"/etc/cni/net.d/10-calico.conflist"}})), Failed, "/etc/cni/net.d/10-calico.conflist"},
		{"networks unknown", cniFiles(nothing), Unknown, ""},

		{"no other certificates", otherPKI(controlPlane(inspect.Strangers{})), OK, ""},
		{"certificates of kubeadm", otherPKI(controlPlane(inspect.Strangers{PKI: []string{"/etc/kubernetes/pki/ca.crt"}})), Failed, "PAI did not make: /etc/kubernetes/pki/ca.crt"},
		{"certificates of kubeadm on a worker", otherPKI(with(inspect.Strangers{PKI: []string{"/etc/kubernetes/pki/ca.crt"}})), OK, ""},
		{"certificates unknown", otherPKI(nothing), Unknown, ""},

		{"all is forwarded", forwardingOf(with(inspect.Strangers{}), pods), OK, ""},
		{"a policy", forwardingOf(with(drops("")), pods), Failed, "chain FORWARD of nftables table ip filter drops"},
		{"Docker", forwardingOf(with(drops("chain DOCKER-USER {")), pods), Failed, "set by Docker"},
		{"firewalld", forwardingOf(with(drops("jump filter_FWD_public")), pods), Failed, "set by firewalld"},
		{"ufw", forwardingOf(with(drops("jump ufw-before-forward")), pods), Failed, "set by ufw"},
		{"rules for pods", forwardingOf(with(drops("ip saddr 10.244.0.0/16 accept")), pods), Warning, "rules for pods"},
		{"rules for the bridge of pods", forwardingOf(with(drops(`iifname "pai0" accept`)), pods), Warning, "rules for pods"},
		{"rules unknown", forwardingOf(nothing, pods), Unknown, ""},

		{"exec", execution(with(inspect.Strangers{})), OK, ""},
		{"noexec", execution(with(inspect.Strangers{NoExec: []string{"/opt/pai"}})), Failed, "/opt/pai is mounted with noexec"},
		{"mounts unknown", execution(nothing), Unknown, ""},
	})
}
