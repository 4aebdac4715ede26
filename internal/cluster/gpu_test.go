package cluster

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

func TestAgentForGPUsIsReadyWhenTheKubeletKnowsIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ out, want string }{
		"ready":              {"17\n" + `{"pid":17,"registered":true,"gpus":[]}`, ""},
		"without a driver":   {"17\n" + `{"pid":17,"registered":true,"problem":"no library","gpus":[]}`, ""},
		"just started":       {"17", "has not written"},
		"of the one before":  {"17\n" + `{"pid":16,"registered":true,"gpus":[]}`, "of process 16, which ended"},
		"not registered":     {"17\n" + `{"pid":17,"registered":false,"gpus":[]}`, "does not know the agent yet"},
		"waits for a driver": {"17\n" + `{"pid":17,"registered":false,"problem":"no library","gpus":[]}`, "no library"},
		"cut off":            {"17\n" + `{"pid":17,`, "read " + layout.GPUStatusFile},
		"no process":         {"", "read the process"},
	} {
		err := gpuReady(c.out)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestRemovedAgentForGPUsLeavesNothing(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-2"]
	h.Units[layout.Unit(plan.RoleGPU)] = inspecttest.Unit{State: "inactive"}
	h.Link(layout.RoleLink(plan.RoleGPU), "../"+string(comparedVersion))
	files := []string{layout.UnitFile(plan.RoleGPU), layout.GPUSpecFile, layout.GPUMetricsFile, layout.GPUStatusFile}
	for _, path := range files {
		h.Write(path, "# Written by PAI.\n")
	}
	h.Write(layout.GPUHealthFile, "{}") // the next agent has to know it
	doStep(t, c.deps, plan.Step{Kind: plan.KindRemoveRole, Role: plan.RoleGPU, Target: "pai-2", To: pai.AnyVersion(comparedVersion)})
	for _, path := range append(files, layout.RoleLink(plan.RoleGPU)) {
		if _, err := os.Lstat(h.At(path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left, error %v", path, err)
		}
	}
	if _, err := os.Stat(h.At(layout.GPUHealthFile)); err != nil {
		t.Errorf("what happened to the GPUs is lost: %v", err)
	}
	for _, want := range []string{"disable -q " + layout.Unit(plan.RoleGPU), "systemctl stop " + layout.Unit(plan.RoleGPU), "daemon-reload"} {
		if !h.Ran(want) {
			t.Errorf("%s did not run", want)
		}
	}
	if err := Doers(c.deps)[plan.KindRemoveRole].Do(t.Context(), plan.Step{Kind: plan.KindRemoveRole, Role: plan.RoleKubelet, Target: "pai-2"}); err == nil {
		t.Error("a role that every machine needs was removed")
	}
}

func TestCleanRemovesTheAgentForGPUs(t *testing.T) {
	t.Parallel()
	script, err := embedded.ReadFile("scripts/clean.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" gpu ", "rm -f " + layout.GPUSpecFile + "\n"} {
		if !strings.Contains(string(script), want) {
			t.Errorf("clean.sh lacks %q", want)
		}
	}
}

func TestMachinesAreNotPreparedForGPUs(t *testing.T) {
	t.Parallel()
	if _, found := roleUnits(testConfig().ControlPlane())[layout.UnitFile(plan.RoleGPU)]; found {
		t.Error("every machine gets the unit of the agent for GPUs, want only those with GPUs")
	}
}
