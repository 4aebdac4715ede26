package plan

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// lost makes a machine unreachable.
func lost(in Input, name string) Input {
	in.World = in.World.clone()
	for i := range in.World.Machines {
		if m := &in.World.Machines[i]; m.Name == name {
			m.Unreachable, m.Node.Ready = "no connection", false
		}
	}
	return in
}

// outOfLayout takes a machine out of the layout by hand.
func outOfLayout(in Input, name string) Input {
	in.World = in.After(in.World, []Step{{Kind: KindLayout, Target: name}})
	return in
}

func TestRemovePlansGolden(t *testing.T) {
	t.Parallel()
	plain := running(twoReleases(), "v0.9", "cp-01", "gpu-01", "gpu-02")
	plain.World.Machines[1].Kind.SKU = "A100"
	hop := plain
	hop.World = plain.World.clone()
	hop.World.Machines[0].Roles[RoleAPIServerA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"}
	maintained := switchedOn(inMaintenance(plain, "gpu-01"), "gpu-01")
	checkPlans(t, map[string]func() (Plan, error){
		"remove":                func() (Plan, error) { return Remove(plain, "gpu-01", false) },
		"remove-in-maintenance": func() (Plan, error) { return Remove(maintained, "gpu-01", false) },
		"remove-lost":           func() (Plan, error) { return Remove(lost(plain, "gpu-01"), "gpu-01", false) },
		"remove-beside-a-lost":  func() (Plan, error) { return Remove(lost(plain, "gpu-02"), "gpu-01", false) },
		"remove-out-of-layout":  func() (Plan, error) { return Remove(outOfLayout(plain, "gpu-01"), "gpu-01", false) },
		"remove-continued":      func() (Plan, error) { return Remove(outOfLayout(maintained, "gpu-01"), "gpu-01", true) },
		"remove-lost-continued": func() (Plan, error) {
			return Remove(outOfLayout(inMaintenance(plain, "gpu-01"), "gpu-01"), "gpu-01", false)
		},
		"remove-between-versions": func() (Plan, error) { return Remove(hop, "gpu-01", false) },
	})
}

// A removal can be killed after any step, and ends with the same command, whether the machine
// is on, off, in maintenance, or out of the layout. In the end, nothing of it is left.
func TestRemovalConvergesFromEachPrefix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if in.World.Current.Kubernetes == "" || len(in.World.Machines) < 2 {
			t.Skip("no worker of a cluster")
		}
		name := in.World.Machines[1].Name
		if rapid.Bool().Draw(t, "in maintenance") {
			in = inMaintenance(in, name)
		}
		switch rapid.IntRange(0, 2).Draw(t, "state") {
		case 0:
			in = switchedOn(in, name)
		case 1:
			in = lost(in, name)
		case 2:
			in = outOfLayout(in, name)
		}
		before, done := in.World, map[Kind]bool{}
		for i := range 20 {
			p, err := Remove(in, name, done[KindClean])
			if pai.CodeOf(err) == pai.CodeNotFound && i > 0 {
				u := in.World.Unconfigured
				if !done[KindRemoveNode] || len(u.Nodes)+len(u.Machines)+len(u.Maintained) > 0 || len(in.World.Machines) != len(before.others(name).Machines) {
					t.Fatalf("got nothing left to do with %+v", u)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			order, killed := linear(t, p), 0
			if i < 10 {
				killed = rapid.IntRange(0, len(order)-1).Draw(t, "not done")
			}
			for _, s := range order[:len(order)-killed] {
				if s.Kind == KindClean && (machineNamed(in.World, name).Unreachable != "" || !hasMaintenance(in.World, name)) {
					t.Fatalf("%s is cleaned although it is unreachable or not in maintenance", name)
				}
				if s.Kind == KindRemoveNode && slices.ContainsFunc(in.World.Machines, func(m MachineState) bool { return m.Name == name }) {
					t.Fatalf("the node of %s is deleted before it left the layout", name)
				}
				in.World, done[s.Kind] = in.After(in.World, []Step{s}), true
			}
		}
		t.Fatal("the removal does not end")
	})
}

func hasMaintenance(w World, name string) bool { return machineNamed(w, name).Maintenance != nil }

func TestRemoveRefuses(t *testing.T) {
	t.Parallel()
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01", "gpu-02")
	change := func(change func(w *World)) Input {
		changed := in
		changed.World = in.World.clone()
		change(&changed.World)
		return changed
	}
	cordoned := change(func(w *World) {
		w.Machines[0].Node.Unschedulable, w.Machines[2].Node.Ready = true, false
	})
	occupied := in
	occupied.Occupied = []OccupiedMachine{{Name: "gpu-02", Has: "a kubelet"}, {Name: "gpu-01", Has: "pods of jobs"}}
	for name, c := range map[string]struct {
		in      Input
		machine string
		code    pai.Code
		reason  string
	}{
		"unknown machine":                    {in, "gpu-09", pai.CodeNotFound, "neither in the configuration nor in the cluster"},
		"control-plane machine":              {in, "cp-01", pai.CodeRefused, "a cluster cannot be without one"},
		"no cluster":                         {input(bare("cp-01", "gpu-01"), twoReleases()), "gpu-01", pai.CodeRefused, "no Kubernetes"},
		"API outage":                         {change(func(w *World) { w.APIReachable = false }), "gpu-01", pai.CodeFailed, "what runs on gpu-01"},
		"API outage, not in the layout":      {change(func(w *World) { w.APIReachable = false }), "gpu-09", pai.CodeFailed, "what runs on gpu-09"},
		"the last for services":              {cordoned, "gpu-01", pai.CodeRefused, "no other machine can run the pods of PAI services"},
		"a machine of another cluster":       {occupied, "gpu-01", pai.CodeRefused, "gpu-01 runs something for another cluster, which a removal would end: pods of jobs"},
		"the last for services, cut by hand": {outOfLayout(cordoned, "gpu-01"), "gpu-01", pai.CodeRefused, "no other machine can run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if p, err := Remove(c.in, c.machine, false); pai.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.reason) || pai.NextOf(err) == "" {
				t.Errorf("got %v, %v, %q, want %q", p.Steps, err, pai.NextOf(err), c.reason)
			}
		})
	}
	// The pods of services have left a machine in maintenance.
	if _, err := Remove(inMaintenance(cordoned, "gpu-01"), "gpu-01", false); err != nil {
		t.Errorf("got %v for a machine in maintenance", err)
	}
	if _, err := Remove(Input{World: in.World, Releases: in.Releases, Occupied: occupied.Occupied[:1]}, "gpu-01", false); err != nil {
		t.Errorf("got %v while another machine is occupied", err)
	}
}

// What runs on a machine is unknown if it is unreachable, or if PAI does not know how to log in.
func TestLostMachine(t *testing.T) {
	t.Parallel()
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01")
	named := in
	named.World.Unconfigured.Machines = []UnconfiguredMachine{{Name: "gpu-09"}}
	for name, c := range map[string]struct {
		world   World
		machine string
		want    string
	}{
		"reachable":                       {in.World, "gpu-01", ""},
		"unreachable":                     {lost(in, "gpu-01").World, "gpu-01", "no connection"},
		"in maintenance, off":             {inMaintenance(in, "gpu-01").World, "gpu-01", "no connection"},
		"out of the layout":               {outOfLayout(in, "gpu-01").World, "gpu-01", "it is not in the layout"},
		"only its line in the hosts file": {named.World, "gpu-09", ""},
		"unknown":                         {in.World, "gpu-09", ""},
	} {
		if got := c.world.Lost(c.machine); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
