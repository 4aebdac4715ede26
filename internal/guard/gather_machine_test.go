package guard

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// nextHop is a machine that runs v0.9, with the programs of v0.10 beside it.
func nextHop(t *testing.T) *inspecttest.Host {
	t.Helper()
	h := inspecttest.NewHost(t, "gpu-01")
	for version, of := range map[string][2]string{"v0.9-pai": {"Kubernetes v1.35.1", "v2.2.3"}, "v0.10-pai": {"Kubernetes v1.36.3", "v2.3.0"}} {
		kubelet, containerd := layout.Program(version, "kubelet"), layout.Program(version, "containerd")
		h.Write(kubelet, "")
		h.Write(containerd, "")
		h.Programs[kubelet+" --version"] = of[0] + "\n"
		h.Programs[containerd+" --version"] = "containerd github.com/containerd/containerd/v2 " + of[1] + " 0123\n"
	}
	h.Link(layout.RoleLink(layout.RoleKubelet), "../v0.9-pai")
	h.Link(layout.RoleLink(layout.RoleRuntime), "../v0.10-pai") // moved, and not restarted yet
	h.Process(7, layout.Program("v0.9-pai", "containerd"), nil, nil)
	h.Units[layout.Unit(layout.RoleRuntime)] = inspecttest.Unit{State: "active", PID: 7, KillMode: "process"}
	h.Units[layout.Unit(layout.RoleKubelet)] = inspecttest.Unit{State: "failed", KillMode: "process"}
	h.Programs[layout.Ctr+" version"] = "Client:\n"
	h.Write(layout.VersionDir("v0.9-pai")+runtimeConfigFile, "SystemdCgroup = false\n")
	h.Write(layout.VersionDir("v0.10-pai")+runtimeConfigFile, "SystemdCgroup = true\n")
	return h
}

func TestObserveMachine(t *testing.T) {
	t.Parallel()
	var f Facts
	step := plan.Step{Kind: plan.KindRole, Role: plan.RoleRuntime, To: "v0.10-pai"}
	LiveFacts{}.observeMachine(t.Context(), nextHop(t), step, &f)
	if f.Kubelet != Known(Transition[string]{"v1.36.3", "v1.36.3"}) || f.KubeletRuns != Known(false) || f.RuntimeUp != Known(true) {
		t.Errorf("got kubelet %+v, runs %+v, runtime up %+v", f.Kubelet, f.KubeletRuns, f.RuntimeUp)
	}
	if f.Runtime != Known(Transition[string]{"v2.2.3", "v2.3.0"}) || f.RuntimeKillMode != Known("process") {
		t.Errorf("got runtime %+v, kill mode %+v", f.Runtime, f.RuntimeKillMode)
	}
	if f.RuntimeCgroups != Known(Transition[string]{"cgroupfs", "systemd"}) {
		t.Errorf("got cgroups %+v, want those of the running version first", f.RuntimeCgroups)
	}
}

func TestObserveMachineLeavesUnknown(t *testing.T) {
	t.Parallel()
	step := plan.Step{Kind: plan.KindRole, Role: plan.RoleRuntime, To: "v0.10-pai"}
	for name, c := range map[string]struct {
		change func(h *inspecttest.Host)
		known  func(f Facts) bool
	}{
		"next kubelet": {func(h *inspecttest.Host) { delete(h.Programs, layout.Program("v0.10-pai", "kubelet")+" --version") },
			func(f Facts) bool { return f.Kubelet.known }},
		"next runtime": {func(h *inspecttest.Host) { delete(h.Programs, layout.Program("v0.10-pai", "containerd")+" --version") },
			func(f Facts) bool { return f.Runtime.known }},
		"running runtime": {func(h *inspecttest.Host) {
			h.Process(7, layout.Program("v0.9-pai", "containerd")+" (deleted)", nil, nil)
		}, func(f Facts) bool { return f.Runtime.known || f.RuntimeCgroups.known }},
		"no runtime": {func(h *inspecttest.Host) {
			h.Units[layout.Unit(layout.RoleRuntime)] = inspecttest.Unit{State: "inactive"}
			h.Link(layout.RoleLink(layout.RoleRuntime), "../v0.8-pai")
		}, func(f Facts) bool { return f.Runtime.known || f.RuntimeKillMode.known || f.RuntimeCgroups.known }},
		"processes": {func(h *inspecttest.Host) { h.Write("/proc/7/cmdline/x", "") },
			func(f Facts) bool {
				return f.KubeletRuns.known || f.RuntimeUp.known || f.Kubelet.known || f.Runtime.known
			}},
	} {
		h := nextHop(t)
		if name == "processes" {
			_ = h.Remove(t.Context(), "/proc/7/cmdline")
		}
		c.change(h)
		var f Facts
		LiveFacts{}.observeMachine(t.Context(), h, step, &f)
		if c.known(f) {
			t.Errorf("%s: got %+v, want unknown", name, f)
		}
	}
}

func TestKubeletOnMachine(t *testing.T) {
	t.Parallel()
	h := nextHop(t)
	program := layout.RoleProgram(layout.RoleKubelet, "kubelet")
	h.Programs[program+" --version"] = "Kubernetes v1.35.1\n"
	if got, err := kubeletOnMachine(t.Context(), h); got != "v1.35.1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	delete(h.Programs, program+" --version")
	if got, err := kubeletOnMachine(t.Context(), h); err == nil || !strings.Contains(err.Error(), "gpu-01") {
		t.Errorf("got %q, %v for a kubelet that does not print its version, want an error", got, err)
	}
	if got, err := kubeletOnMachine(t.Context(), inspecttest.NewHost(t, "gpu-02")); got != "" || err != nil {
		t.Errorf("got %q, %v without a kubelet, want nothing", got, err)
	}
}
