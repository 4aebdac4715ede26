package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

const tasks = layout.ContainerdTasks + "/k8s.io/"

// shims makes the bundle directory of a container and its first process.
func shims(r *inspecttest.Root, id string, pid int, cgroup, config string) {
	r.Write(tasks+id+"/init.pid", fmt.Sprint(pid))
	r.Write(tasks+id+"/config.json", config)
	r.Write(fmt.Sprintf("/proc/%d/cgroup", pid), "0::/kubepods/pod1/"+cgroup+"\n")
}

func specification(kind, name string) string {
	return `{"ociVersion":"1.2.1","annotations":{"io.kubernetes.cri.container-name":"` + name + `","io.kubernetes.cri.container-type":"` + kind +
		`","io.kubernetes.cri.sandbox-id":"s","io.kubernetes.cri.sandbox-name":"train-0","io.kubernetes.cri.sandbox-namespace":"pai-vc-default","io.kubernetes.cri.sandbox-uid":"u-1"},"linux":{}}`
}

func TestContainers(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	r.Write("/proc/sys/kernel/random/boot_id", "boot-1\n")
	r.Programs["systemctl is-system-running"] = "degraded\n"
	shims(r, "c1", 11, "c1", specification("container", "main"))
	shims(r, "s1", 12, "s1", specification("sandbox", ""))
	shims(r, "pid-of-another", 13, "c9", specification("container", "main"))
	shims(r, "unreadable", 14, "unreadable", `{`)
	r.Write(tasks+"not-started/config.json", specification("container", "main"))
	r.Write(tasks+"starting/init.pid", "")
	r.Write(tasks+"gone/init.pid", "15")

	got := ask(t, r, inspect.Containers)
	want := []inspect.Container{
		{ID: "c1", PID: 11, Namespace: "pai-vc-default", Pod: "train-0", PodUID: "u-1", Name: "main"}, {ID: "unreadable", PID: 14},
	}
	if a := got.Activity; a == nil || a.Boot != "boot-1" || a.Stopping || !slices.Equal(a.Containers, want) {
		t.Fatalf("got %+v, %v, want %+v", a, got.Problems, want)
	}
	if len(got.Problems) != 1 || got.Problems["containers unreadable"] == "" {
		t.Errorf("got problems %v, want that of the unreadable container", got.Problems)
	}
	if a := got.Activity; !a.Containers[0].OfJob() || !a.Containers[1].OfJob() || (inspect.Container{Namespace: "pai-system"}).OfJob() {
		t.Error("a container of a job or an unknown one is none of a job, or one of a service is")
	}
	r.Programs["systemctl is-system-running"] = "stopping\n"
	if !ask(t, r, inspect.Containers).Activity.Stopping {
		t.Error("got a machine that stays, want one that shuts down")
	}
	for state, known := range map[string]bool{"running": true, "starting": true, "maintenance": true, "offline": false, "unknown": false, "": false} {
		r.Programs["systemctl is-system-running"] = state + "\n"
		if got := ask(t, r, inspect.Containers); got.Activity.Stopping || (got.Problems["containers stopping"] == "") != known {
			t.Errorf("state %q: got %+v, %v", state, got.Activity, got.Problems)
		}
	}
	r.Write(tasks+"broken/init.pid", "none")
	if got := ask(t, r, inspect.Containers); got.Activity != nil || got.Problem(inspect.Containers) == "" {
		t.Errorf("got %+v with an unreadable first process, want nothing", got.Activity)
	}
}

func TestMachineWithoutContainers(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	got := ask(t, r, inspect.Containers)
	if got.Activity == nil || len(got.Activity.Containers) > 0 || got.Problems["containers stopping"] == "" || got.Problems["containers boot"] == "" {
		t.Errorf("got %+v, %v, want no containers, and no boot ID", got.Activity, got.Problems)
	}
	r.Write("/proc/20/comm", "containerd-shim")
	if got := ask(t, r, inspect.Containers); got.Activity != nil || !strings.Contains(got.Problem(inspect.Containers), "outside") {
		t.Errorf("got %+v, %v while a shim runs, want an error", got.Activity, got.Problems)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	r := started(t)
	next := layout.Program("v0.10-pai", "kubelet")
	r.Write(next, "")
	r.Write(layout.Program("v0.10-pai", "containerd"), "")
	r.Programs[next+" --version"] = "Kubernetes v1.36.3\n"
	r.Programs[layout.Program("v0.9-pai", "kubelet")+" --version"] = "Kubernetes v1.35.1\n"
	got := r.Machine().Inspect(t.Context(), inspect.Request{
		Parts: []inspect.Part{inspect.Roles, inspect.Versions, inspect.Runtime}, Only: []layout.Role{"kubelet", "containerd"},
		Programs: []string{next, layout.Program("v0.10-pai", "containerd"), layout.Program("v0.11-pai", "kubelet")},
	}, "")
	if len(got.Versions) != 2 || got.Versions[next] != "Kubernetes v1.36.3" || got.Versions[layout.Program("v0.9-pai", "kubelet")] != "Kubernetes v1.35.1" {
		t.Errorf("got %v", got.Versions)
	}
	if err := got.ProblemOf(inspect.Versions, layout.Program("v0.10-pai", "containerd")); err == nil || got.ProblemOf(inspect.Versions, next) != nil {
		t.Errorf("got problems %v, want that of the program that fails", got.Problems)
	}
	if got.RuntimeUp == nil || *got.RuntimeUp {
		t.Errorf("got runtime %v, want one that is not responding", got.RuntimeUp)
	}
	r.Programs[layout.Ctr+" version"] = ""
	if up := ask(t, r, inspect.Runtime).RuntimeUp; up == nil || !*up {
		t.Errorf("got runtime %v, want one that is responding", up)
	}
}

func TestMainProgram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		role inspect.Role
		want string
	}{
		{inspect.Role{Link: "v0.10-pai", Program: "/opt/pai/v0.9-pai/bin/containerd"}, "/opt/pai/v0.9-pai/bin/containerd"},
		{inspect.Role{Link: "v0.10-pai"}, "/opt/pai/v0.10-pai/bin/containerd"},
		{inspect.Role{}, ""},
	} {
		if got := c.role.MainProgram(layout.RoleRuntime); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.role, got, c.want)
		}
	}
}

func TestHardware(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	r.Write("/proc/meminfo", "MemTotal:       231062812 kB\nMemFree: 1 kB\n")
	r.Write("/proc/sys/kernel/hostname", "gpu-01.example.org\n")
	r.Write("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n")
	for name, sectors := range map[string]string{"sda": "937703088", "sr0": "100", "loop0": "8", "sdb": "0"} {
		r.Write("/sys/block/"+name+"/size", sectors+"\n")
	}
	for name, p := range map[string][3]string{
		"0": {"0x10de", "0x030200", "0x102d"}, "1": {"0x1002", "0x120000", "0x738c"}, "2": {"0x8086", "0x030000", "0x1"}, "3": {"0x10de", "0x040300", "0x2"},
	} {
		r.Write("/sys/bus/pci/devices/"+name+"/vendor", p[0]+"\n")
		r.Write("/sys/bus/pci/devices/"+name+"/class", p[1]+"\n")
		r.Write("/sys/bus/pci/devices/"+name+"/device", p[2]+"\n")
	}
	got := ask(t, r, inspect.HardwareOf)
	hw := got.Hardware
	if hw == nil || hw.Hostname != "gpu-01" || hw.Cores < 1 || hw.MemoryMiB != 225647 || hw.OS != "Debian GNU/Linux 12 (bookworm)" {
		t.Fatalf("got %+v, %v", hw, got.Problems)
	}
	if !slices.Equal(hw.GPUs, []string{"nvidia-102d", "amd-738c"}) || !slices.Equal(hw.Disks, []inspect.Drive{{Name: "sda", Bytes: 480103981056}}) {
		t.Errorf("got GPUs %v and disks %v", hw.GPUs, hw.Disks)
	}
	r.Programs["nvidia-smi --query-gpu=uuid,name --format=csv,noheader"] = "GPU-1b2c, Tesla K80\nGPU-1b2d, Tesla K80\n"
	if got := ask(t, r, inspect.HardwareOf).Hardware.GPUs; !slices.Equal(got, []string{"Tesla K80", "Tesla K80"}) {
		t.Errorf("got GPUs %v, want those of the driver", got)
	}
	for file, bad := range map[string]string{"/proc/meminfo": "MemFree: 1 kB\n", "/sys/block/sda/size": "large"} {
		r := inspecttest.NewRoot(t)
		r.Write("/proc/meminfo", "MemTotal: 1048576 kB\n")
		r.Write("/proc/sys/kernel/hostname", "x\n")
		r.Write(file, bad)
		if got := ask(t, r, inspect.HardwareOf); got.Hardware != nil || got.Problem(inspect.HardwareOf) == "" {
			t.Errorf("%s %q: got %+v, want nothing", file, bad, got.Hardware)
		}
	}
}

func TestContainersEndWithTheContext(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	m := inspect.Machine{Root: string(r.Dir), Run: func(ctx context.Context, _ string, _ ...string) (string, error) {
		if _, limited := ctx.Deadline(); !limited {
			return "", errors.New("no deadline")
		}
		return "running\n", nil
	}}
	if got := m.Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.Containers}}, ""); got.Problems["containers stopping"] != "" {
		t.Errorf("got %v, want a question with a deadline", got.Problems)
	}
}
