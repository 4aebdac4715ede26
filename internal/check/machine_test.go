package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

func TestParseMachine(t *testing.T) {
	t.Parallel()
	asked := time.Unix(1000, 0)
	text := `began 1010.5
disk /opt/pai / 1000 400 - -
disk /var/lib/etcd /data 2000 100 500 20
disk /var/lib/pai / 1000 400 - -
cut-copy 50
memory-total 2048
memory-available 1024
rss etcd-a 100
rss apiserver-b 300
swap /dev/sda2 1024
cgroup 1 cpu memory
kernel nftables yes
kernel vxlan no
containerd-filesystem overlayfs
listeners known
listen [::]:10250 host /opt/pai/v0.9-pai/bin/kubelet
listen 127.0.0.1:2379 nobody -
kubelet-config Y3B1TWFuYWdlclBvbGljeTogbm9uZQo=
name m1 12 10.0.0.1
name nowhere.pai.internal 3002
something new that a later release says
ended 1011.5
`
	f, err := parseMachine(text, asked, time.Unix(1002, 0))
	if err != nil {
		t.Fatal(err)
	}
	if f.Ahead != 10500*time.Millisecond || f.Behind != 9500*time.Millisecond {
		t.Errorf("the clock is between %s and %s ahead", f.Behind, f.Ahead)
	}
	if want := (disk{"/var/lib/etcd", "/data", 2000, 100, 500, 20}); f.Disks[1] != want || f.Disks[0].Inodes != 0 || f.Disks[0].Free != 450 || f.Disks[2].Free != 450 {
		t.Errorf("disks %+v", f.Disks)
	}
	if f.MemoryTotal != 2<<20 || f.MemoryAvailable != 1<<20 || f.ControlPlaneRSS != 400<<10 || f.Swap["/dev/sda2"] != 1<<20 {
		t.Errorf("memory %+v", f)
	}
	if f.CgroupVersion != 1 || !slices.Equal(f.Controllers, []string{"cpu", "memory"}) || !f.Kernel["nftables"] || f.Kernel["vxlan"] {
		t.Errorf("kernel %+v", f)
	}
	if want := (listener{"[::]", 10250, "host", "/opt/pai/v0.9-pai/bin/kubelet"}); f.Listeners[0] != want || f.Listeners[1].Where != "nobody" {
		t.Errorf("listeners %+v", f.Listeners)
	}
	if string(f.KubeletConfig) != "cpuManagerPolicy: none\n" || f.Names[1].Took != 3002*time.Millisecond || f.Names[1].Address != "" {
		t.Errorf("%+v", f)
	}
	for _, broken := range []string{
		strings.Replace(text, "ended 1011.5\n", "", 1), // cut short
		strings.Replace(text, "disk /opt/pai / 1000", "disk /opt/pai / many", 1),
		strings.Replace(text, "ended 1011.5", "ended soon", 1),
		text + "certificate /etc/x.crt bm9uZQ==\n",
	} {
		if _, err := parseMachine(broken, asked, asked); err == nil {
			t.Errorf("this was taken for whole:\n%s", broken)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	at := func(low, high time.Duration) machineFacts { return machineFacts{Behind: low, Ahead: high} }
	const s = time.Second
	judgements(t, []judged{
		{"together", clock("m2", "m1", at(-s/10, s/10), at(-s/10, s/10)), OK, "in step"},
		{"a slow answer proves nothing", clock("m2", "m1", at(-20*s, 20*s), at(0, 0)), OK, "in step"},
		{"two seconds", clock("m2", "m1", at(2*s, 2*s), at(0, 0)), Warning, "2s off the clock of m1"},
		{"behind", clock("m2", "m1", at(-7*s, -6*s), at(0, s)), Failed, "6s off"},
		{"ahead", clock("m2", "m1", at(6*s, 7*s), at(0, 0)), Failed, "6s off"},
		{"both off alike", clock("m2", "m1", at(60*s, 60*s), at(60*s, 60*s)), OK, "in step"},
		{"the first, off this host", clock("m1", "m1", at(10*s, 10*s), at(10*s, 10*s)), Warning, "this host"},
		{"the first, far off this host", clock("m1", "m1", at(-120*s, -119*s), at(0, 0)), Failed, "this host"},
	})
}

func TestRoom(t *testing.T) {
	t.Parallel()
	const g = 1 << 30
	disks := func(free ...int64) []disk {
		return []disk{{"/opt/pai", "/", 100 * g, free[0], 1e6, 9e5}, {"/var/lib/containerd", "/", 100 * g, free[0], 1e6, 9e5}, {"/var/lib/etcd", "/data", 10 * g, free[1], 0, 0}}
	}
	needs := map[string]int64{"/opt/pai": 2 * g, "/var/lib/containerd": 3 * g, "/var/lib/etcd": g}
	few := disks(50*g, 9*g)
	few[0].FreeInodes = 100
	few[1].FreeInodes = 100
	judgements(t, []judged{
		{"plenty", room("m1", disks(50*g, 9*g), needs), OK, "/ has 50 GiB free"},
		{"folders of one file system add up", room("m1", disks(5*g, 9*g), needs), Failed, "/ has 5.0 GiB free, needs 6.0 GiB for /opt/pai, /var/lib/containerd"},
		{"tight", room("m1", disks(7*g, 9*g), needs), Warning, "/ has 7.0 GiB free"},
		{"the other one", room("m1", disks(50*g, g), needs), Failed, "/data has 1.0 GiB free, needs 2.0 GiB"},
		{"a reserve stays also where nothing is written", room("m1", disks(g/2, 9*g), nil), Failed, "/ has 512 MiB free"},
		{"inodes", room("m1", few, nil), Failed, "100 inodes"},
		{"nothing said", room("m1", nil, needs), Unknown, ""},
	})
}

func TestMemory(t *testing.T) {
	t.Parallel()
	master, worker := config.Machine{Hostname: "m1", Role: config.RoleControlPlane}, config.Machine{Hostname: "m2", Role: config.RoleWorker}
	const m = 1 << 20
	judgements(t, []judged{
		{"enough", memoryOf(master, machineFacts{MemoryTotal: 8192 * m, MemoryAvailable: 4096 * m, ControlPlaneRSS: 900 * m}), OK, "4.0 GiB of 8.0 GiB"},
		{"no room for a second API server", memoryOf(master, machineFacts{MemoryTotal: 2048 * m, MemoryAvailable: 1000 * m, ControlPlaneRSS: 900 * m}), Failed, "1.1 GiB are needed"},
		{"before the first boot", memoryOf(master, machineFacts{MemoryTotal: 2048 * m, MemoryAvailable: 700 * m}), Failed, "768 MiB"},
		{"a worker needs less", memoryOf(worker, machineFacts{MemoryTotal: 2048 * m, MemoryAvailable: 300 * m}), OK, ""},
		{"nothing said", memoryOf(worker, machineFacts{}), Unknown, ""},
	})
}

func TestPorts(t *testing.T) {
	t.Parallel()
	needed := []layout.Port{{Number: 2379, Component: "etcd", ControlPlane: true}, {Number: 10250, Component: "kubelet"}, {Number: 9100, Component: "node-exporter"}}
	master, worker := config.Machine{Hostname: "m1", Role: config.RoleControlPlane}, config.Machine{Hostname: "m2", Role: config.RoleWorker}
	on := func(l ...listener) machineFacts { return machineFacts{ListenersKnown: true, Listeners: l} }
	judgements(t, []judged{
		{"free", portsOf(master, on(), needed), OK, ""},
		{"ours", portsOf(master, on(listener{"127.0.0.1", 2379, "host", "/opt/pai/v0.9-pai/bin/etcd"}), needed), OK, ""},
		{"a pod's", portsOf(worker, on(listener{"*", 9100, "pod", "/node_exporter"}), needed), OK, ""},
		{"somebody else's", portsOf(worker, on(listener{"*", 10250, "host", "/usr/bin/k3s"}), needed), Failed, "/usr/bin/k3s listens on *:10250, which kubelet needs"},
		{"looks like ours", portsOf(worker, on(listener{"*", 10250, "host", "/opt/pairing/agent"}), needed), Failed, "/opt/pairing/agent"},
		{"nobody's that is seen", portsOf(worker, on(listener{"*", 10250, "nobody", "-"}), needed), Failed, "cannot be seen"},
		{"etcd's on a worker", portsOf(worker, on(listener{"*", 2379, "host", "/usr/bin/etcd"}), needed), OK, ""},
		{"etcd's on the control plane", portsOf(master, on(listener{"*", 2379, "host", "/usr/bin/etcd"}), needed), Failed, "etcd needs"},
		{"nothing said", portsOf(worker, machineFacts{}, needed), Unknown, "ss"},
	})
}

func TestNeededPortsAreAllOfPAI(t *testing.T) {
	t.Parallel()
	master := config.Machine{Hostname: "m1", Role: config.RoleControlPlane}
	c := &config.Config{}
	c.Kubernetes.APIServersPort, c.Services.NodeExporter.Port = 6443, 9100
	needed := neededPorts(c)
	for _, p := range layout.TCPPorts() {
		foreign := machineFacts{ListenersKnown: true, Listeners: []listener{{"127.0.0.1", p.Number, "host", "/usr/bin/foreign"}}}
		got := portsOf(master, foreign, needed)
		if refused := got.Outcome == Failed && strings.Contains(got.Found, p.Component); refused != (p.Role != "") {
			t.Errorf("port %d of %s: got %v", p.Number, p.Component, got)
		}
	}
	for _, port := range []int{6443, 9100} {
		foreign := machineFacts{ListenersKnown: true, Listeners: []listener{{"*", port, "host", "/usr/bin/foreign"}}}
		if got := portsOf(master, foreign, needed); got.Outcome != Failed {
			t.Errorf("port %d: got %v, want failed", port, got)
		}
	}
}

func TestKernel(t *testing.T) {
	t.Parallel()
	all := func(without ...string) machineFacts {
		f := machineFacts{Kernel: map[string]bool{}, Filesystem: "ext2/ext3", CgroupVersion: 2, Controllers: []string{"cpu", "cpuset", "memory", "pids"}}
		for _, k := range []string{"overlay", "nftables", "bridge-nf", "vxlan", "forwarding"} {
			f.Kernel[k] = !slices.Contains(without, k)
		}
		return f
	}
	native := all("overlay")
	native.Filesystem = "overlayfs"
	v1 := all()
	v1.CgroupVersion = 1
	noMemory := all()
	noMemory.Controllers = []string{"cpu", "cpuset", "pids"}
	swapped, swapped1 := all(), v1
	swapped.Swap = map[string]int64{"/dev/sda2": 1 << 30}
	swapped1.Swap = swapped.Swap
	judgements(t, []judged{
		{"all there", kernelOf("m1", all(), true, true), OK, ""},
		{"no nftables", kernelOf("m1", all("nftables"), false, true), Failed, "nftables"},
		{"no overlay", kernelOf("m1", all("overlay"), false, true), Failed, "overlay"},
		{"no overlay on an overlay", kernelOf("m1", native, false, true), OK, ""},
		{"forwarding reset", kernelOf("m1", all("forwarding"), false, true), Failed, "ip_forward"},
		{"forwarding not set yet", kernelOf("m1", all("forwarding"), false, false), OK, ""},
		{"no br_netfilter", kernelOf("m1", all("bridge-nf"), false, true), Warning, "br_netfilter"},
		{"no vxlan, several machines", kernelOf("m1", all("vxlan"), true, true), Warning, "vxlan"},
		{"no vxlan, one machine", kernelOf("m1", all("vxlan"), false, true), OK, ""},
		{"nothing said", kernelOf("m1", machineFacts{}, false, true), Unknown, ""},

		{"cgroup v2", cgroupsOf("m1", all()), OK, "cgroup v2"},
		{"cgroup v1", cgroupsOf("m1", v1), Warning, "cgroup v1"},
		{"no memory controller", cgroupsOf("m1", noMemory), Failed, "memory"},
		{"no cgroups said", cgroupsOf("m1", machineFacts{}), Unknown, ""},

		{"no swap", swapOf("m1", all()), OK, ""},
		{"swap", swapOf("m1", swapped), Warning, "/dev/sda2 (1.0 GiB)"},
		{"swap and cgroup v1", swapOf("m1", swapped1), Warning, "pods are swapped"},
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	addresses := map[string]string{"api.pai.internal": "127.0.0.1", "m1": "10.0.0.1"}
	looked := func(l ...lookup) machineFacts { return machineFacts{Names: l} }
	const ms = time.Millisecond
	judgements(t, []judged{
		{"all answered", namesOf("m1", looked(lookup{"m1", ms, "10.0.0.1"}, lookup{"api.pai.internal", ms, "127.0.0.1"}, lookup{"x", 20 * ms, ""}), addresses, true), OK, ""},
		{"nobody answers", namesOf("m1", looked(lookup{"x", 3001 * ms, ""}), addresses, true), Failed, "nobody answers when it looks x up (after 3s)"},
		{"slow, but an answer", namesOf("m1", looked(lookup{"x", 1500 * ms, ""}), addresses, true), OK, ""},
		{"its own name is another's", namesOf("m1", looked(lookup{"m1", ms, "10.9.9.9"}), addresses, true), Warning, "m1, is 10.9.9.9 there, not 10.0.0.1"},
		{"its own name is its loopback", namesOf("m1", looked(lookup{"m1", ms, "127.0.1.1"}), addresses, true), OK, ""},
		{"the API has no name", namesOf("m1", looked(lookup{"api.pai.internal", ms, ""}), addresses, true), Failed, "api.pai.internal is unknown"},
		{"before it is prepared", namesOf("m1", looked(lookup{"api.pai.internal", ms, ""}), addresses, false), OK, ""},
		{"nothing said", namesOf("m1", machineFacts{}, addresses, true), Unknown, ""},
	})
}
