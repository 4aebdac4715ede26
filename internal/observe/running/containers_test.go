package running

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/test/inspecttest"
	"pai.dev/pai/test/sessiontest"
)

func TestMachinesReportTheirContainers(t *testing.T) {
	t.Parallel()
	up, broken := inspecttest.NewHost(t, "gpu-01"), inspecttest.NewHost(t, "gpu-02")
	up.Write("/proc/sys/kernel/random/boot_id", "boot-1\n")
	up.Programs["systemctl is-system-running"] = "stopping\n"
	up.Write(layout.ContainerdTasks+"/k8s.io/c1/init.pid", "11")
	up.Write("/proc/11/cgroup", "0::/kubepods/c1\n")
	up.Write(layout.ContainerdTasks+"/k8s.io/c1/config.json", `{"annotations":{"io.kubernetes.cri.sandbox-namespace":"pai-vc-default"}}`)
	broken.Write("/proc/11/comm", "containerd-shim\n")
	hosts := map[string]machine.Host{"gpu-01": up, "gpu-02": broken, "gpu-03": nil}
	got := Machines(t.Context(), hosts, []string{"gpu-01", "gpu-02", "gpu-03"})
	if m := got["gpu-01"]; m.Err != nil || m.Boot != "boot-1" || !m.Stopping || !slices.Equal(m.Containers, []Container{{ID: "c1", PID: 11, Namespace: "pai-vc-default"}}) {
		t.Errorf("got %+v", m)
	}
	for _, name := range []string{"gpu-02", "gpu-03"} {
		if m := got[name]; m.Err == nil {
			t.Errorf("%s: got %+v, want an error", name, m)
		}
	}
	lost := errors.New("connection lost")
	fail := func(context.Context, machine.Command) (machine.Output, error) { return machine.Output{}, lost }
	if _, err := Containers(t.Context(), &sessiontest.Host{Hostname: "gpu-04", Answer: fail}); !errors.Is(err, lost) {
		t.Errorf("got %v, want the lost connection", err)
	}
}
