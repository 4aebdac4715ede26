package check

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseMachineFacts(t *testing.T) {
	t.Parallel()
	started := time.Unix(1000, 0)
	text := `began 1010.5
disk /opt/pai / 1000 400 - -
disk /var/lib/etcd /data 2000 100 500 20
disk /var/lib/pai / 1000 400 - -
partial-copy 50
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
listen 127.0.0.1:2379 unknown -
kubelet-config Y3B1TWFuYWdlclBvbGljeTogbm9uZQo=
name m1 12 10.0.0.1
name nowhere.pai.internal 3002
unknown-fact of a later release
ended 1011.5
`
	f, err := parseMachine(text, started, time.Unix(1002, 0))
	if err != nil {
		t.Fatal(err)
	}
	if f.Ahead != 10500*time.Millisecond || f.Behind != 9500*time.Millisecond {
		t.Errorf("got a clock between %s and %s ahead", f.Behind, f.Ahead)
	}
	if want := (disk{"/var/lib/etcd", "/data", 2000, 100, 500, 20}); f.Disks[1] != want || f.Disks[0].Inodes != 0 || f.Disks[0].Free != 450 || f.Disks[2].Free != 450 {
		t.Errorf("got disks %+v", f.Disks)
	}
	if f.MemoryTotal != 2<<20 || f.MemoryAvailable != 1<<20 || f.ControlPlaneRSS != 400<<10 || f.Swap["/dev/sda2"] != 1<<20 {
		t.Errorf("got memory %+v", f)
	}
	if f.CgroupVersion != 1 || !slices.Equal(f.Controllers, []string{"cpu", "memory"}) || !f.Kernel["nftables"] || f.Kernel["vxlan"] {
		t.Errorf("got kernel %+v", f)
	}
	if want := (listener{"[::]", 10250, "host", "/opt/pai/v0.9-pai/bin/kubelet"}); f.Listeners[0] != want || f.Listeners[1].Where != "unknown" {
		t.Errorf("got listeners %+v", f.Listeners)
	}
	if string(f.KubeletConfig) != "cpuManagerPolicy: none\n" || f.Names[1].Took != 3002*time.Millisecond || f.Names[1].Address != "" {
		t.Errorf("got %+v", f)
	}
	for _, broken := range []string{
		strings.Replace(text, "ended 1011.5\n", "", 1), // cut off
		strings.Replace(text, "disk /opt/pai / 1000", "disk /opt/pai / many", 1),
		strings.Replace(text, "ended 1011.5", "ended soon", 1),
		text + "certificate /etc/x.crt bm9uZQ==\n",
	} {
		if _, err := parseMachine(broken, started, started); err == nil {
			t.Errorf("got no error for:\n%s", broken)
		}
	}
}

// The script runs on this host as on a machine: with sh, and the first failed
// command ends it.
func TestMachineScriptRunsOnThisHost(t *testing.T) {
	t.Parallel()
	started := time.Now()
	out, err := exec.CommandContext(t.Context(), "sh", "-euc", scriptInput(neededPorts(testConfig()))+machineScript).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := parseMachine(string(out), started, time.Now())
	if err != nil || len(f.Disks) != 6 || f.Disks[0].Free == 0 || f.MemoryTotal == 0 || f.CgroupVersion == 0 || len(f.Kernel) != 5 || len(f.Names) != 3 {
		t.Errorf("got %+v, %v from\n%s", f, err, out)
	}
	if f.Ahead < 0 || f.Behind > 0 {
		t.Errorf("got a clock between %s and %s ahead of itself", f.Behind, f.Ahead)
	}
}
