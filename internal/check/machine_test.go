package check

import (
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// controlPlaneMachine and workerMachine are prepared machines of a cluster.
func controlPlaneMachine(f machineFacts) observedMachine {
	return observedMachine{config.Machine{Hostname: "m1", Role: config.RoleControlPlane}, f, plan.MachineState{Prepared: true, Joined: true, Roles: map[plan.Role]plan.RoleState{plan.RoleKubelet: {Link: "v0.11-pai", Running: "v0.11-pai"}}}}
}

func workerMachine(f machineFacts) observedMachine {
	m := controlPlaneMachine(f)
	m.Hostname, m.Role = "m2", config.RoleWorker
	return m
}

// unprepared is a machine before its first boot.
func unprepared(m observedMachine) observedMachine {
	m.state = plan.MachineState{}
	return m
}
func TestClockDifference(t *testing.T) {
	t.Parallel()
	at := func(low, high time.Duration) machineFacts { return machineFacts{Behind: low, Ahead: high} }
	const s = time.Second
	expect(t, []expectation{
		{"same clock", clock("m2", "m1", at(-s/10, s/10), at(-s/10, s/10)), OK, "synchronized"},
		{"slow connection", clock("m2", "m1", at(-20*s, 20*s), at(0, 0)), OK, "synchronized"},
		{"2 s ahead", clock("m2", "m1", at(2*s, 2*s), at(0, 0)), Warning, "differs from the clock of m1 by 2s"},
		{"6 s behind", clock("m2", "m1", at(-7*s, -6*s), at(0, s)), Failed, "by 6s"},
		{"6 s ahead", clock("m2", "m1", at(6*s, 7*s), at(0, 0)), Failed, "by 6s"},
		{"both differ from this host", clock("m2", "m1", at(60*s, 60*s), at(60*s, 60*s)), OK, "synchronized"},
		{"control plane, 10 s from this host", clock("m1", "m1", at(10*s, 10*s), at(10*s, 10*s)), Warning, "this host"},
		{"control plane, 2 min from this host", clock("m1", "m1", at(-120*s, -119*s), at(0, 0)), Failed, "this host"},
	})
}

func disk(dir, mount string, size, free, inodes, freeInodes int64) inspect.Disk {
	return inspect.Disk{Dir: dir, Mount: mount, Size: size, Free: free, Inodes: inodes, FreeInodes: freeInodes}
}

func TestFreeSpace(t *testing.T) {
	t.Parallel()
	const g = 1 << 30
	disks := func(free ...int64) []inspect.Disk {
		return []inspect.Disk{disk("/opt/pai", "/", 100*g, free[0], 1e6, 9e5), disk("/var/lib/containerd", "/", 100*g, free[0], 1e6, 9e5), disk("/var/lib/etcd", "/data", 10*g, free[1], 0, 0)}
	}
	needs := map[string]int64{"/opt/pai": 2 * g, "/var/lib/containerd": 3 * g, "/var/lib/etcd": g}
	few := disks(50*g, 9*g)
	few[0].FreeInodes = 100
	few[1].FreeInodes = 100
	expect(t, []expectation{
		{"enough", freeSpace("m1", disks(50*g, 9*g), needs), OK, "/ has 50 GiB free"},
		{"directories on one file system", freeSpace("m1", disks(5*g, 9*g), needs), Failed, "/ has 5.0 GiB free, needs 6.0 GiB for /opt/pai, /var/lib/containerd"},
		{"less than twice the need", freeSpace("m1", disks(7*g, 9*g), needs), Warning, "/ has 7.0 GiB free"},
		{"second file system", freeSpace("m1", disks(50*g, g), needs), Failed, "/data has 1.0 GiB free, needs 2.0 GiB"},
		{"reserve without writes", freeSpace("m1", disks(g/2, 9*g), nil), Failed, "/ has 512 MiB free"},
		{"inodes", freeSpace("m1", few, nil), Failed, "100 inodes"},
		{"unknown", freeSpace("m1", nil, needs), Unknown, ""},
	})
}

func TestMemoryForHandover(t *testing.T) {
	t.Parallel()
	const m = 1 << 20
	expect(t, []expectation{
		{"enough", memory(controlPlaneMachine(machineFacts{Condition: inspect.Condition{MemoryTotal: 8192 * m, MemoryAvailable: 4096 * m, ControlPlaneRSS: 900 * m}}), true), OK, "4.0 GiB of 8.0 GiB"},
		{"too little for a second API server", memory(controlPlaneMachine(machineFacts{Condition: inspect.Condition{MemoryTotal: 2048 * m, MemoryAvailable: 1000 * m, ControlPlaneRSS: 900 * m}}), true), Failed, "needs 1.1 GiB"},
		{"as little, and nothing of the control plane starts", memory(controlPlaneMachine(machineFacts{Condition: inspect.Condition{MemoryTotal: 2048 * m, MemoryAvailable: 1000 * m, ControlPlaneRSS: 900 * m}}), false), OK, "1000 MiB"},
		{"before the first boot", memory(controlPlaneMachine(machineFacts{Condition: inspect.Condition{MemoryTotal: 2048 * m, MemoryAvailable: 700 * m}}), true), Failed, "768 MiB"},
		{"worker", memory(workerMachine(machineFacts{Condition: inspect.Condition{MemoryTotal: 2048 * m, MemoryAvailable: 300 * m}}), false), OK, ""},
		{"unknown", memory(workerMachine(machineFacts{}), false), Unknown, ""},
	})
}

func listener(address string, port int, where, program string) inspect.Listener {
	return inspect.Listener{Address: address, Port: port, Where: where, Program: program}
}

func TestPortsInUse(t *testing.T) {
	t.Parallel()
	needed := []layout.Port{{Number: 2379, Component: "etcd", ControlPlane: true}, {Number: 10250, Component: "kubelet"}, {Number: 9100, Component: "node-exporter"}}
	on := func(m func(machineFacts) observedMachine, l ...inspect.Listener) observedMachine {
		return m(machineFacts{Condition: inspect.Condition{ListenersKnown: true, Listeners: l}})
	}
	controlPlane, worker := controlPlaneMachine, workerMachine
	expect(t, []expectation{
		{"free", portsOf(on(controlPlane), needed), OK, ""},
		{"PAI program", portsOf(on(controlPlane, listener("127.0.0.1", 2379, "host", "/opt/pai/v0.9-pai/bin/etcd")), needed), OK, ""},
		{"container of a pod", portsOf(on(worker, listener("*", 9100, "pod", "/node_exporter")), needed), OK, ""},
		{"foreign program", portsOf(on(worker, listener("*", 10250, "host", "/usr/bin/k3s")), needed), Failed, "/usr/bin/k3s listens on *:10250, which kubelet needs"},
		{"similar path", portsOf(on(worker, listener("*", 10250, "host", "/opt/pairing/agent")), needed), Failed, "/opt/pairing/agent"},
		{"invisible process", portsOf(on(worker, listener("*", 10250, "unknown", "-")), needed), Failed, "an unknown process"},
		{"etcd port, worker", portsOf(on(worker, listener("*", 2379, "host", "/usr/bin/etcd")), needed), OK, ""},
		{"etcd port, control plane", portsOf(on(controlPlane, listener("*", 2379, "host", "/usr/bin/etcd")), needed), Failed, "etcd needs"},
		{"unknown", portsOf(worker(machineFacts{}), needed), Unknown, "listening programs unknown"},
	})
}

func TestNeededPortsAreAllOfPAI(t *testing.T) {
	t.Parallel()
	c := &config.Config{}
	c.Kubernetes.APIServersPort, c.Services.NodeExporter.Port = 6443, 9100
	needed := neededPorts(c)
	listening := func(address string, port int) Result {
		return portsOf(controlPlaneMachine(machineFacts{Condition: inspect.Condition{ListenersKnown: true, Listeners: []inspect.Listener{listener(address, port, "host", "/usr/bin/foreign")}}}), needed)
	}
	for _, p := range layout.TCPPorts() {
		got := listening("127.0.0.1", p.Number)
		if refused := got.Outcome == Failed && strings.Contains(got.Found, p.Component); refused != (p.Role != "") {
			t.Errorf("port %d of %s: got %v", p.Number, p.Component, got)
		}
	}
	for _, port := range []int{6443, 9100} {
		if got := listening("*", port); got.Outcome != Failed {
			t.Errorf("port %d: got %v, want failed", port, got)
		}
	}
}
