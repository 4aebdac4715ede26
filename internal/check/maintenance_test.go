package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// maintenanceInput has a machine in maintenance and two that are not.
func maintenanceInput() Input {
	return Input{
		Hosts: map[string]machine.Host{"cp-01": silentHost{}, "gpu-01": silentHost{}, "gpu-02": silentHost{}},
		World: plan.World{Machines: []plan.MachineState{{Name: "cp-01", ControlPlane: true},
			{Name: "gpu-01", Maintenance: &pai.Maintenance{Since: time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), By: "ann@ops"}}, {Name: "gpu-02"}}},
	}
}

func TestMachineInMaintenanceIsNotChecked(t *testing.T) {
	t.Parallel()
	in := maintenanceInput()
	for name, c := range map[string]struct {
		machine string
		asked   []string
		kept    []string // of the targets below
	}{
		"any operation":             {"", []string{"cp-01", "gpu-02"}, []string{"", "cp-01", "gpu-02", "gpu-02/kubelet", "kueue"}},
		"its return":                {"gpu-01", []string{"cp-01", "gpu-01"}, []string{"", "gpu-01", "gpu-01/kubelet", "kueue"}},
		"the return of another one": {"gpu-02", []string{"cp-01", "gpu-02"}, []string{"", "gpu-02", "gpu-02/kubelet", "kueue"}},
	} {
		o := RunOptions{Machine: c.machine}
		var asked, kept []string
		for name := range o.without(in).Hosts {
			asked = append(asked, name)
		}
		for _, target := range []string{"", "cp-01", "gpu-01", "gpu-02", "gpu-01/kubelet", "gpu-02/kubelet", "kueue"} {
			if !o.leavesOut(in, Result{ID: "machine-reachable", Target: target}) {
				kept = append(kept, target)
			}
		}
		if slices.Sort(asked); !slices.Equal(asked, c.asked) || !slices.Equal(kept, c.kept) {
			t.Errorf("%s: got %q asked and results of %q, want %q and %q", name, asked, kept, c.asked, c.kept)
		}
		if o.leavesOut(in, Result{ID: cordonedCheck, Target: "gpu-01"}) {
			t.Errorf("%s: the maintenance is not shown", name)
		}
	}
	if len(in.Hosts) != 3 {
		t.Error("the connections of the session changed")
	}
}

// One of several control-plane machines in maintenance is not checked either, until its return.
func TestControlPlaneInMaintenanceIsNotChecked(t *testing.T) {
	t.Parallel()
	in := maintenanceInput()
	in.World.Machines = append(in.World.Machines, plan.MachineState{Name: "cp-02", ControlPlane: true, Maintenance: &pai.Maintenance{}})
	in.Hosts["cp-02"] = silentHost{}
	for machine, want := range map[string]bool{"": false, "cp-02": true, "gpu-02": false} {
		if asked := (RunOptions{Machine: machine}).without(in).Hosts["cp-02"] != nil; asked != want {
			t.Errorf("checks for %q: got asked %v, want %v", machine, asked, want)
		}
	}
}

// A return runs the checks of a boot, and none only warns.
func TestReturnRunsTheChecksOfABoot(t *testing.T) {
	t.Parallel()
	for _, c := range All() {
		boot, back := RunOptions{Stage: Boot}.skips(c), RunOptions{Stage: Return}.skips(c)
		again := RunOptions{Stage: Return, Resuming: true}.skips(c) // the last operation failed
		if boot != back || boot != again {
			t.Errorf("%s: skipped by a boot %v, by a return %v, by a second return %v", c.ID, boot, back, again)
		}
	}
	in, machines := unobservable(), maintenanceInput()
	in.Hosts, in.World.Machines = machines.Hosts, machines.World.Machines
	in.Config.Layout.MachineList = []config.Machine{{Hostname: "cp-01", Role: config.RoleControlPlane}, {Hostname: "gpu-01", MachineType: "dgx"}, {Hostname: "gpu-02"}}
	results := Run(t.Context(), in, RunOptions{Stage: Return, Machine: "gpu-01"})
	if slices.ContainsFunc(results, func(r Result) bool { return r.Target == "cp-01" || r.Target == "gpu-02" }) {
		t.Errorf("got results of other machines: %+v", results)
	}
	if !slices.ContainsFunc(results, func(r Result) bool { return r.ID == "machine-gpus" && r.Target == "gpu-01" && r.Bad() }) {
		t.Errorf("got %+v, want GPUs that refuse the return", results)
	}
	// GPUs of machines that this return does not check are no matter.
	in.Config.Layout.MachineList[1].MachineType, in.Config.Layout.MachineList[2].MachineType = "", "dgx"
	results = Run(t.Context(), in, RunOptions{Stage: Return, Machine: "gpu-01"})
	if slices.ContainsFunc(results, func(r Result) bool { return r.ID == "machine-gpus" && r.Bad() }) {
		t.Errorf("got %+v, want no refusal for the GPUs of gpu-02", results)
	}
}

func TestMaintenanceIsAWarning(t *testing.T) {
	t.Parallel()
	w := &world{Input: maintenanceInput()}
	w.World.Machines[2].Node = &plan.Node{Unschedulable: true, Maintenance: "op-1"}
	node := func(name string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Unschedulable: true}}
	}
	expect(t, []expectation{
		{"in maintenance", nodeCordoned(w, node("gpu-01")), Warning, "in maintenance since 2026-11-27 09:00 UTC by ann@ops"},
		{"on its way", nodeCordoned(w, node("gpu-02")), Warning, "cordoned for maintenance"},
		{"an operator", nodeCordoned(w, node("cp-01")), Warning, "by an operator"},
	})
	if r := nodeCordoned(w, node("gpu-01")); !strings.Contains(r.Fix, "paictl machine return gpu-01") {
		t.Errorf("got the fix %q", r.Fix)
	}
}
