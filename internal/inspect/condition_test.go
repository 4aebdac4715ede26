package inspect_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"slices"
	"testing"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

const (
	certificate = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"
	key         = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
)

// booted is a control-plane machine with everything that checks look at.
func booted(t *testing.T) *inspecttest.Root {
	t.Helper()
	r := inspecttest.NewRoot(t)
	r.Write("/proc/meminfo", "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n")
	r.Write("/proc/sys/kernel/hostname", "gpu-01\n")
	r.Write("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1024 0 -2\n")
	r.Write("/proc/filesystems", "nodev\tsysfs\nnodev\toverlay\n\text4\n")
	r.Write("/proc/sys/net/ipv4/ip_forward", "1\n")
	r.Write("/sys/module/vxlan/version", "")
	r.Write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1\n")
	r.Write("/proc/net/tcp", `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 501 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 502 1 0 100 0 0 10 0
   2: 0100007F:094B 0100007F:0016 01 00000000:00000000 00:00000000 00000000     0        0 503 1 0 100 0 0 10 0
   3: 0100007F:238C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 504 1 0 100 0 0 10 0
`)
	r.Write("/proc/net/tcp6", `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 601 1 0 100 0 0 10 0
`)
	for socket, program := range map[string]string{"501": "/opt/pai/v0.9-pai/bin/etcd", "601": "/opt/pai/v0.9-pai/bin/kubelet"} {
		r.Link("/proc/"+socket+"/exe", program)
		r.Write("/proc/"+socket+"/cgroup", "0::/system.slice\n")
		r.Link("/proc/"+socket+"/fd/3", "socket:["+socket+"]")
		r.Link("/proc/"+socket+"/fd/0", "/dev/null")
	}
	r.Link("/proc/504/fd/7", "socket:[504]")
	r.Link("/proc/504/exe", "/node_exporter")
	r.Write("/proc/504/cgroup", "0::/kubepods/pod1/c1\n")
	r.Write("/proc/501/status", "VmRSS:\t 100 kB\n")
	r.Units[layout.Unit(layout.RoleEtcdA)] = inspecttest.Unit{State: "active", PID: 501}
	r.Programs["getent ahostsv4 api.pai.internal"] = "127.0.0.1 STREAM api.pai.internal\n127.0.0.1 DGRAM\n"
	r.Write(layout.PKIDir+"/ca.crt", certificate)
	r.Write(layout.PKIDir+"/etcd/server.crt", certificate+certificate)
	r.Link(layout.KubeletClientCertificate, layout.KubeletPKIDir+"/kubelet-client-1.pem")
	r.Write(layout.KubeletPKIDir+"/kubelet-client-1.pem", certificate+key)
	r.Write(layout.AdminConf, "users:\n- user:\n    client-certificate-data: "+base64.StdEncoding.EncodeToString([]byte(certificate))+"\n")
	r.Write(layout.ConfigDir+"/resolv.conf", "nameserver 10.0.0.1\n")
	r.Link(layout.ConfigDir+"/gone.conf", "/nothing")
	r.Link(layout.RoleLink(layout.RoleKubelet), "../v0.9-pai")
	r.Write(layout.VersionFile("v0.9-pai", layout.KubeletConfigName), "cpuManagerPolicy: none\n")
	r.Write(layout.CPUManagerState, "{}")
	r.Write("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n")
	r.Programs["systemctl --version"] = "systemd 252 (252.39-1~deb12u1)\n+PAM +AUDIT\n"
	return r
}

func conditionOf(t *testing.T, r *inspecttest.Root, ports ...int) inspect.Report {
	t.Helper()
	return r.Machine().Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.ConditionOf}, Ports: ports}, "")
}

func TestCondition(t *testing.T) {
	t.Parallel()
	r := booted(t)
	before := time.Now()
	got := conditionOf(t, r, 2379, 10250, 9100)
	c := got.Condition
	if c == nil || len(got.Problems) > 0 {
		t.Fatalf("got %v", got.Problems)
	}
	if c.Began.Before(before) || c.Ended.Before(c.Began) || time.Now().Before(c.Ended) {
		t.Errorf("got a clock between %s and %s", c.Began, c.Ended)
	}
	if len(c.Disks) != 6 || c.Disks[0].Dir != layout.ProgramsDir || c.Disks[0].Size == 0 || c.Disks[0].Free == 0 || c.Disks[0].Mount != c.Disks[5].Mount {
		t.Errorf("got disks %+v", c.Disks)
	}
	if c.MemoryTotal != 2<<20 || c.MemoryAvailable != 1<<20 || c.ControlPlaneRSS != 100<<10 || len(c.Swap) != 1 || c.Swap["/dev/sda2"] != 1<<20 {
		t.Errorf("got memory %d, %d, %d, swap %v", c.MemoryTotal, c.MemoryAvailable, c.ControlPlaneRSS, c.Swap)
	}
	if c.CgroupVersion != 2 || !slices.Contains(c.Controllers, "memory") {
		t.Errorf("got cgroup %d with %v", c.CgroupVersion, c.Controllers)
	}
	for feature, want := range map[string]bool{"overlay": true, "nftables": false, "bridge-nf": true, "vxlan": true, "forwarding": true} {
		if have, known := c.Kernel[feature]; have != want || !known {
			t.Errorf("%s: got %v, known %v, want %v", feature, have, known, want)
		}
	}
	if want := (inspect.System{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)", Systemd: 252}); c.System == nil || *c.System != want {
		t.Errorf("got system %+v, want %+v", c.System, want)
	}
	want := []inspect.Listener{
		{Address: "127.0.0.1", Port: 2379, Where: "host", Program: "/opt/pai/v0.9-pai/bin/etcd"},
		{Address: "127.0.0.1", Port: 9100, Where: "pod", Program: "/node_exporter"},
		{Address: "[::]", Port: 10250, Where: "host", Program: "/opt/pai/v0.9-pai/bin/kubelet"},
	}
	if !c.ListenersKnown || !slices.Equal(c.Listeners, want) {
		t.Errorf("got listeners %+v, want %+v", c.Listeners, want)
	}
	if len(c.Names) != 3 || c.Names[0].Address != "127.0.0.1" || c.Names[1].Name != "gpu-01" || c.Names[1].Address != "" {
		t.Errorf("got lookups %+v", c.Names)
	}
	if string(c.KubeletConfig) != "cpuManagerPolicy: none\n" || string(c.CPUState) != "{}" || c.MemoryState != nil {
		t.Errorf("got files %q, %q, %q", c.KubeletConfig, c.CPUState, c.MemoryState)
	}
	for path, count := range map[string]int{layout.PKIDir + "/ca.crt": 1, layout.PKIDir + "/etcd/server.crt": 2, layout.KubeletClientCertificate: 1, layout.AdminConf: 1} {
		if n := bytes.Count(c.Certificates[path], []byte("BEGIN CERTIFICATE")); n != count || bytes.Contains(c.Certificates[path], []byte("PRIVATE")) {
			t.Errorf("%s: got %d certificates in %q, want %d and no key", path, n, c.Certificates[path], count)
		}
	}
	if len(c.Certificates) != 4 {
		t.Errorf("got certificates of %d files, want 4", len(c.Certificates))
	}
}

func TestConditionOfAnotherMachine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(r *inspecttest.Root)
		want   func(c *inspect.Condition) bool
	}{
		{"cgroup v1", func(r *inspecttest.Root) {
			_ = os.Remove(r.At("/sys/fs/cgroup/cgroup.controllers"))
			r.Write("/proc/cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t2\t1\t0\n")
		}, func(c *inspect.Condition) bool {
			return c.CgroupVersion == 1 && slices.Equal(c.Controllers, []string{"cpu"})
		}},
		{"nftables", func(r *inspecttest.Root) { r.Programs["nft list tables"] = "" }, func(c *inspect.Condition) bool { return c.Kernel["nftables"] }},
		{"vxlan as a module", func(r *inspecttest.Root) {
			_ = os.RemoveAll(r.At("/sys/module/vxlan"))
			r.Programs["modprobe -n vxlan"] = ""
		}, func(c *inspect.Condition) bool { return c.Kernel["vxlan"] }},
		{"vxlan in the kernel", func(r *inspecttest.Root) {
			_ = os.RemoveAll(r.At("/sys/module/vxlan"))
			r.Write("/proc/sys/kernel/osrelease", "6.1.0\n")
			r.Write("/lib/modules/6.1.0/modules.builtin", "kernel/drivers/net/vxlan/vxlan.ko\n")
		}, func(c *inspect.Condition) bool { return c.Kernel["vxlan"] }},
		{"no vxlan", func(r *inspecttest.Root) { _ = os.RemoveAll(r.At("/sys/module/vxlan")) }, func(c *inspect.Condition) bool { return !c.Kernel["vxlan"] }},
		{"overlay that nothing loaded yet", func(r *inspecttest.Root) {
			r.Write("/proc/filesystems", "\text4\n")
			r.Programs["modprobe -n overlay"] = ""
		}, func(c *inspect.Condition) bool { return c.Kernel["overlay"] }},
		{"no overlay", func(r *inspecttest.Root) { r.Write("/proc/filesystems", "\text4\n") }, func(c *inspect.Condition) bool { return !c.Kernel["overlay"] }},
		{"no swap", func(r *inspecttest.Root) { _ = os.Remove(r.At("/proc/swaps")) }, func(c *inspect.Condition) bool { return len(c.Swap) == 0 }},
		{"no IPv6", func(r *inspecttest.Root) { _ = os.Remove(r.At("/proc/net/tcp6")) }, func(c *inspect.Condition) bool { return c.ListenersKnown && len(c.Listeners) == 1 }},
		{"an invisible process", func(r *inspecttest.Root) { _ = os.RemoveAll(r.At("/proc/501/fd")) },
			func(c *inspect.Condition) bool {
				return c.Listeners[0].Where == "unknown" && c.Listeners[0].Program == "-"
			}},
		{"no sockets", func(r *inspecttest.Root) { _ = os.Remove(r.At("/proc/net/tcp")) }, func(c *inspect.Condition) bool { return !c.ListenersKnown }},
		{"damaged sockets", func(r *inspecttest.Root) { r.Write("/proc/net/tcp", "0: XY:094B 0:0 0A a b c d e 1\n") }, func(c *inspect.Condition) bool { return !c.ListenersKnown }},
	} {
		r := booted(t)
		c.change(r)
		got := conditionOf(t, r, 2379, 10250)
		if got.Condition == nil || !c.want(got.Condition) {
			t.Errorf("%s: got %+v, %v", c.name, got.Condition, got.Problems)
		}
	}
}

func TestConditionThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *inspecttest.Root){
		"memory":             func(r *inspecttest.Root) { r.Write("/proc/meminfo", "") },
		"swap":               func(r *inspecttest.Root) { r.Write("/proc/swaps", "/dev/sda2 partition many 0 -2\n") },
		"control plane":      func(r *inspecttest.Root) { r.Units[layout.Unit(layout.RoleEtcdA)] = inspecttest.Unit{} },
		"certificate":        func(r *inspecttest.Root) { r.Write(layout.PKIDir+"/ca.crt", key) },
		"kubeconfig":         func(r *inspecttest.Root) { r.Write(layout.AdminConf, "client-certificate-data: !\n") },
		"kubeconfig of text": func(r *inspecttest.Root) { r.Write(layout.AdminConf, "client-certificate-data: bm9uZQ==\n") },
		"kubelet state":      func(r *inspecttest.Root) { r.Write(layout.MemoryManagerState+"/x", "") },
	} {
		r := booted(t)
		change(r)
		if got := conditionOf(t, r); got.Condition != nil || got.Problem(inspect.ConditionOf) == "" {
			t.Errorf("%s: got %+v, want nothing and a problem", name, got.Condition)
		}
	}
}
