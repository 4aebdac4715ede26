package running

import (
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/test/inspecttest"
)

func TestPausesOfMachines(t *testing.T) {
	t.Parallel()
	up, broken := inspecttest.NewHost(t, "gpu-01"), inspecttest.NewHost(t, "gpu-02")
	for id, log := range map[string]string{"c1": time.Now().Add(-30*time.Second).Format(time.RFC3339Nano) + " stdout F step\n", "c2": ""} {
		up.Write(layout.ContainerdTasks+"/k8s.io/"+id+"/init.pid", id[1:])
		up.Write("/proc/"+id[1:]+"/cgroup", "0::/kubepods/"+id+"\n")
		up.Write(layout.ContainerdTasks+"/k8s.io/"+id+"/config.json", `{"annotations":{"io.kubernetes.cri.sandbox-namespace":"pai-vc-default","io.kubernetes.cri.sandbox-name":"p","io.kubernetes.cri.sandbox-uid":"u","io.kubernetes.cri.container-name":"`+id+`"}}`)
		up.Write(layout.PodLogs+"/pai-vc-default_p_u/"+id+"/0.log", log)
	}
	broken.Write("/proc/11/comm", "containerd-shim\n")
	got := Pauses(t.Context(), map[string]machine.Host{"gpu-01": up, "gpu-02": broken}, []string{"gpu-01", "gpu-02", "gpu-03"}, time.Minute)
	if m := got["gpu-01"]; m.Err != nil || len(m.Pauses) != 1 || m.Pauses["c1"].After < 30*time.Second || m.Problems["c2"] == "" {
		t.Errorf("got %+v, want the pauses of c1, and why those of c2 are unknown", m)
	}
	for _, name := range []string{"gpu-02", "gpu-03"} {
		if m := got[name]; m.Err == nil {
			t.Errorf("%s: got %+v, want an error", name, m)
		}
	}
}
