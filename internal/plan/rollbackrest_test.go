package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A machine that never joined has no programs to roll back, and no step of a rollback
// prepares or joins it.
func TestRollbackLeavesUnbootedMachines(t *testing.T) {
	for name, c := range map[string]struct {
		machine MachineState
		left    bool
	}{
		"never booted":       {MachineState{Name: "gpu-02"}, true},
		"prepared":           {MachineState{Name: "gpu-02", Prepared: true, Roles: map[Role]RoleState{RoleRuntime: {Link: "v0.10-pai", Running: "v0.10-pai"}}}, true},
		"unreachable":        {MachineState{Name: "gpu-02", Unreachable: "no route"}, false},
		"its kubelet starts": {MachineState{Name: "gpu-02", Prepared: true, Roles: map[Role]RoleState{RoleKubelet: {Link: "v0.10-pai"}}}, false},
		"a node":             {MachineState{Name: "gpu-02", Node: &Node{}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := withSnapshot(running(twoReleases(), "v0.10", "cp-01", "gpu-01"))
			in.World.Machines = append(in.World.Machines, c.machine)
			p, err := Rollback(in, nine, Target{})
			if err != nil {
				t.Fatal(err)
			}
			on := func(m string) bool { return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Target == m }) }
			noted := slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, "gpu-02 is not part of the cluster yet") })
			if on("gpu-02") == c.left || noted != c.left || !on("gpu-01") {
				t.Errorf("steps on gpu-02: %v, on gpu-01: %v, notes %q; want it left out: %v", on("gpu-02"), on("gpu-01"), p.Notes, c.left)
			}
		})
	}
}

// What the operator stopped stays stopped, also if all services are.
func TestRollbackStartsNoStoppedService(t *testing.T) {
	ten := withSnapshot(running(twoReleases(), "v0.10", "cp-01", "gpu-01"))
	one := withSnapshot(running(twoReleases(), "v0.10", "cp-01", "gpu-01"))
	delete(one.World.Services, "kueue")
	unnamed := stopped(t, withSnapshot(running(twoReleases(), "v0.10", "cp-01")))
	unnamed.World.RecordedServices = ""
	for name, c := range map[string]struct {
		in    Input
		wants []string // steps of kueue and of the record
	}{
		"all run":         {ten, []string{"services/v0.9/kueue", "services/v0.9/record"}},
		"one is stopped":  {one, []string{"services/v0.9/record"}},
		"all are stopped": {stopped(t, ten), []string{"services/v0.9/record"}},
		"no record":       {unnamed, []string{"services/v0.9/record"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Rollback(c.in, nine, Target{ServicesOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range p.Steps {
				if s.ID == "services/v0.9/kueue" || s.ID == "services/v0.9/record" || s.Kind == KindService && len(c.in.World.Services) == 0 {
					got = append(got, string(s.ID))
				}
			}
			if !slices.Equal(got, c.wants) {
				t.Errorf("got steps %v, want %v", got, c.wants)
			}
		})
	}
}

func TestRollbackNotesNewerKubelets(t *testing.T) {
	for kubelet, want := range map[string]bool{"v1.36.3": true, "v1.35.6": false, "v1.33.1": false, "": false} {
		in := withSnapshot(running(twoReleases(), "v0.10", "cp-01"))
		in.World.Unconfigured.Nodes = []UnconfiguredNode{{Name: "old-01", Kubelet: kubelet}}
		for target, changes := range map[Target]bool{{}: true, {ServicesOnly: true}: false} {
			p, err := Rollback(in, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, target)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "of old-01 stays") }); got != (want && changes) {
				t.Errorf("kubelet %q, target %+v: got notes %q, want the kubelet noted: %v", kubelet, target, p.Notes, want && changes)
			}
		}
	}
}
