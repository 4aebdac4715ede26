package plan

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

// inMaintenance puts a machine of an input into maintenance, switched off.
func inMaintenance(in Input, name string) Input {
	in.World = in.World.clone()
	for i := range in.World.Machines {
		m := &in.World.Machines[i]
		if m.Name == name {
			m.Maintenance = &pai.Maintenance{By: "ann@ops", Operation: "op-1"}
			m.Unreachable = "no connection"
			if m.Node != nil {
				*m.Node = Node{Unschedulable: true, Maintenance: "op-1", InMaintenance: true}
			}
		}
	}
	return in
}

// switchedOn makes a machine reachable, as it was before it was switched off.
func switchedOn(in Input, name string) Input {
	in.World = in.World.clone()
	for i := range in.World.Machines {
		if m := &in.World.Machines[i]; m.Name == name {
			m.Unreachable, m.Node.Ready = "", true
		}
	}
	return in
}

func machineNamed(w World, name string) MachineState {
	return w.Machines[slices.IndexFunc(w.Machines, func(m MachineState) bool { return m.Name == name })]
}

func TestMaintenancePlansGolden(t *testing.T) {
	t.Parallel()
	two := twoReleases()
	plain := running(two, "v0.9", "cp-01", "gpu-01", "gpu-02")
	upgraded := inMaintenance(plain, "gpu-01")
	p, err := Upgrade(upgraded, Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	upgraded.World = upgraded.After(upgraded.World, p.Steps)
	checkPlans(t, map[string]func() (Plan, error){
		"maintain":                  func() (Plan, error) { return Maintain(plain.World, "gpu-01") },
		"maintain-done":             func() (Plan, error) { return Maintain(inMaintenance(plain, "gpu-01").World, "gpu-01") },
		"maintain-left-out":         func() (Plan, error) { return Upgrade(inMaintenance(plain, "gpu-01"), Target{Release: "v0.10"}) },
		"return":                    func() (Plan, error) { return Return(switchedOn(inMaintenance(plain, "gpu-01"), "gpu-01"), "gpu-01") },
		"return-after-an-upgrade":   func() (Plan, error) { return Return(switchedOn(upgraded, "gpu-01"), "gpu-01") },
		"return-not-in-maintenance": func() (Plan, error) { return Return(plain, "gpu-01") },
	})
}

// checkPlans compares plans, and what each of their steps waits for, with golden files.
func checkPlans(t *testing.T, plans map[string]func() (Plan, error)) {
	t.Helper()
	for name, plan := range plans {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := plan()
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "testdata/plans/"+name+".txt", Text(p, jobsOn(p, "gpu-01"))+waits(p))
		})
	}
}

// Whatever is planned, a machine in maintenance is as if it did not exist.
func TestMachineInMaintenanceIsLeftAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		names := in.World.Machines[1:]
		if in.World.Current.Kubernetes == "" || len(names) == 0 {
			t.Skip("no worker of a cluster")
		}
		name := rapid.SampledFrom(names).Draw(t, "machine").Name
		goal := drawGoal(t, in)
		maintained := inMaintenance(in, name)
		maintained.World.APIReachable = rapid.Bool().Draw(t, "API")
		without := maintained
		without.World = maintained.World.Active("")
		got, err := goal(maintained)
		want, wantErr := goal(without)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("got error %v, want %v", err, wantErr)
		}
		if changes := StepChanges(want.Steps, got.Steps); err == nil && (len(changes) > 0 || got.To != want.To) {
			t.Fatalf("got other steps than without %s: %v", name, changes)
		}
		if err == nil && !strings.Contains(strings.Join(got.Notes, " "), name+" is in maintenance") {
			t.Fatalf("got notes %q, want the machine that is left out", got.Notes)
		}
		if slices.ContainsFunc(got.Steps, func(s Step) bool { return s.Target == name }) {
			t.Fatalf("got a step of %s", name)
		}
	})
}

// A maintenance can be killed after any step, and ends with the same command. In
// between, an upgrade passes the machine, and its return brings it there.
func TestMaintenanceConvergesFromEachPrefix(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if in.World.Current.Kubernetes == "" || len(in.World.Machines) < 2 {
			t.Skip("no worker of a cluster")
		}
		if p, err := Upgrade(in, Target{Release: rapid.SampledFrom(in.Releases).Draw(t, "services").Metadata.Name, ServicesOnly: true}); err == nil && p.To.Kubernetes == in.World.Current.Kubernetes {
			in.World = in.After(in.World, p.Steps)
		}
		name := in.World.Machines[1].Name
		toEnd := func(what string, plan func() (Plan, error)) {
			for i := range 20 {
				p, err := plan()
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if len(p.Steps) == 0 {
					return
				}
				order, killed := linear(t, p), 0
				if i < 10 { // the drain is repeated each time, so ten kills right after it change nothing
					killed = rapid.IntRange(0, len(order)-1).Draw(t, "not done")
				}
				in.World = in.After(in.World, order[:len(order)-killed])
			}
			t.Fatalf("%s does not end", what)
		}
		toEnd("maintain", func() (Plan, error) { return Maintain(in.World, name) })
		m := machineNamed(in.World, name)
		if m.Maintenance == nil || !m.Node.Unschedulable || !m.Node.InMaintenance {
			t.Fatalf("got %+v, want a cordoned machine in maintenance", m)
		}
		target := Target{Release: rapid.SampledFrom(in.Releases).Draw(t, "to").Metadata.Name}
		if p, err := Upgrade(in, target); err == nil {
			in.World = in.After(in.World, p.Steps)
		}
		if m := &in.World.Machines[1]; rapid.Bool().Draw(t, "new disk") {
			m.Prepared, m.Joined, m.Programs, m.Images, m.Roles = false, false, nil, nil, map[Role]RoleState{}
		}
		toEnd("return", func() (Plan, error) { return Return(in, name) })
		m = machineNamed(in.World, name)
		if m.Maintenance != nil || m.Node.Unschedulable || m.InMaintenance() {
			t.Fatalf("got %+v, want a machine that takes jobs", m)
		}
		if has := m.Roles[RoleKubelet].Running; has.Less(in.World.Current.Kubernetes) {
			t.Fatalf("got kubelet %s in a cluster of %s", has, in.World.Current.Kubernetes)
		}
	})
}

func TestMaintainRefuses(t *testing.T) {
	t.Parallel()
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01")
	outage := in.World.clone()
	outage.APIReachable = false
	for name, c := range map[string]struct {
		world   World
		machine string
		code    pai.Code
		reason  string
	}{
		"unknown machine":       {in.World, "gpu-09", pai.CodeUsage, "not found"},
		"control-plane machine": {in.World, "cp-01", pai.CodeRefused, "no job starts"},
		"no cluster":            {bare("cp-01", "gpu-01"), "gpu-01", pai.CodeRefused, "no Kubernetes"},
		"API outage":            {outage, "gpu-01", pai.CodeFailed, "what runs on gpu-01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for verb, err := range map[string]error{
				"maintain": func() error { _, err := Maintain(c.world, c.machine); return err }(),
				"return":   func() error { _, err := Return(input(c.world, twoReleases()), c.machine); return err }(),
			} {
				if pai.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.reason) {
					t.Errorf("%s: got %v, want %q", verb, err, c.reason)
				}
			}
		})
	}
	off := inMaintenance(in, "gpu-01")
	if _, err := Return(off, "gpu-01"); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("got %v for a machine that is off, want a refusal", err)
	}
	on := switchedOn(off, "gpu-01")
	on.Occupied = []OccupiedMachine{{Name: "gpu-01", Has: "a container"}}
	if _, err := Return(on, "gpu-01"); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v for a machine of another cluster, want a refusal", err)
	}
}

// If an operator uncordons a machine in maintenance, the same command cordons it again, and
// waits for the jobs that started meanwhile.
func TestMaintainRepeatsWhatWasUndone(t *testing.T) {
	t.Parallel()
	in := inMaintenance(running(twoReleases(), "v0.9", "cp-01", "gpu-01"), "gpu-01")
	kinds := func() []Kind {
		t.Helper()
		p, err := Maintain(in.World, "gpu-01")
		if err != nil {
			t.Fatal(err)
		}
		var kinds []Kind
		for _, s := range p.Steps {
			kinds = append(kinds, s.Kind)
		}
		return kinds
	}
	if in.World.Machines[1].Node = nil; len(kinds()) > 0 {
		t.Errorf("without a node: got %v", kinds())
	}
	in.World.Machines[1].Maintenance = nil // its containers can still run
	if got := kinds(); !slices.Equal(got, []Kind{KindDrain, KindDNSAway, KindMaintenance}) {
		t.Errorf("without a node and a record: got %v", got)
	}
	in = inMaintenance(running(twoReleases(), "v0.9", "cp-01", "gpu-01"), "gpu-01")
	node := machineNamed(in.World, "gpu-01").Node
	node.Unschedulable = false
	if got := kinds(); !slices.Equal(got, []Kind{KindCordon, KindDrain}) {
		t.Errorf("uncordoned: got %v", got)
	}
	node.Unschedulable, node.Unlabeled = true, true
	if got := kinds(); !slices.Equal(got, []Kind{KindCordon, KindDrain}) {
		t.Errorf("without the label: got %v", got)
	}
	node.Unlabeled = false
	node.Unschedulable, node.InMaintenance = true, false // a restore of etcd
	if got := kinds(); !slices.Equal(got, []Kind{KindDrain, KindDNSAway, KindMaintenance}) {
		t.Errorf("without a mark: got %v", got)
	}
}

// The images of newer services are part of a return, and a machine that missed a rollback
// is rolled back.
func TestReturnFollowsTheCluster(t *testing.T) {
	t.Parallel()
	two := twoReleases()
	newer := running(two, "v0.10", "cp-01", "gpu-01")
	in := running(two, "v0.9", "cp-01", "gpu-01")
	in.World.Machines[1] = newer.World.Machines[1]
	in.World.Machines[1].Maintenance = &pai.Maintenance{}
	p, err := Return(in, "gpu-01")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindKubelet && s.To == "v0.9-pai" && s.Back() }) {
		t.Errorf("got steps %v, want the kubelet rolled back", p.Steps)
	}
	services := running(two, "v0.9", "cp-01", "gpu-01")
	services.World.Current.Services, services.World.RecordedServices = "v0.10", "v0.10"
	services.World.Machines[1].Maintenance = &pai.Maintenance{}
	services.World.Machines[1].Images = nil
	if p, err = Return(services, "gpu-01"); err != nil {
		t.Fatal(err)
	}
	if len(p.Steps) < 3 || p.Steps[len(p.Steps)-3].Kind != KindImages || p.Steps[len(p.Steps)-3].To != "v0.10" {
		t.Errorf("got steps %v, want the images of the services before the return", p.Steps)
	}
	// A new disk has no role, and its node is left: no step uncordons it before the others are done.
	services.World.Machines[1].Roles, services.World.Machines[1].Joined = nil, false
	if p, err = Return(services, "gpu-01"); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Kind == KindImages && s.To == "v0.10" })
	if at < 0 || !slices.Contains(p.Steps[at].After, "kubernetes/v0.9-pai/machine/gpu-01/kubelet") || slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == KindUncordon }) {
		t.Errorf("got steps %v, want the images of the services after the kubelet, and no uncordon", p.Steps)
	}
}

// No step of a maintenance or a return replaces the pods of services or CoreDNS, which would
// uncordon machines and wait for those that are off. A return applies CoreDNS in the build
// that the control plane runs, and not in the middle of a hop, committed or not.
func TestMaintenanceChangesCoreDNSAsItRuns(t *testing.T) {
	t.Parallel()
	in := switchedOn(inMaintenance(running(twoReleases(), "v0.9", "cp-01", "gpu-01"), "gpu-01"), "gpu-01")
	build := in.World.Current.Kubernetes.Build("0123456789abcdef")
	control := in.World.Machines[0]
	control.Programs = append(control.Programs, build)
	control.Roles[RoleAPIServerA] = RoleState{Link: build, Running: build}
	in.World.Machines[0] = control
	dns := func() (Step, bool) {
		t.Helper()
		p, err := Return(in, "gpu-01")
		if err != nil {
			t.Fatal(err)
		}
		maintain, err := Maintain(running(twoReleases(), "v0.9", "cp-01", "gpu-01").World, "gpu-01")
		if err != nil || len(maintain.Steps) == 0 {
			t.Fatalf("got %v, %v, want steps", maintain.Steps, err)
		}
		if slices.ContainsFunc(slices.Concat(p.Steps, maintain.Steps), func(s Step) bool { return s.Kind.Traits().RollsPods }) {
			t.Errorf("got steps that roll pods: %v, %v", p.Steps, maintain.Steps)
		}
		back := p.Steps[len(p.Steps)-1]
		if back.Kind != KindReturn || back.To != "v0.9-pai" {
			t.Errorf("got %+v last, want the return to the version of the cluster", back)
		}
		for _, s := range p.Steps {
			if s.Kind == KindDNSBack {
				return s, slices.Contains(back.After, s.ID)
			}
		}
		return Step{}, false
	}
	if s, before := dns(); !before || s.To != pai.AnyVersion(build) {
		t.Errorf("got %+v, before the return %v, want the build %s", s, before, build)
	}
	for _, emulates := range []string{"1.35", ""} { // before and after the commit
		control.Roles[RoleAPIServerA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai", Emulates: emulates}
		if s, planned := dns(); planned {
			t.Errorf("got %+v in the middle of a hop", s)
		}
	}
	control.Roles[RoleAPIServerA] = RoleState{Link: build, Running: build}
	control.Roles[RoleEtcdA] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai"} // stays after a rollback
	if _, planned := dns(); !planned {
		t.Error("got no CoreDNS beside a newer etcd")
	}
}

func TestSavedPlanIgnoresAMachineInMaintenance(t *testing.T) {
	t.Parallel()
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01")
	off := inMaintenance(in, "gpu-01")
	before := PlanInputsOf(off.World, nil, nil)
	if changes := Changes(Saved{Inputs: before}, Saved{Inputs: PlanInputsOf(switchedOn(off, "gpu-01").World, nil, nil)}); len(changes) > 0 {
		t.Errorf("got %v after it was switched on, want no change", changes)
	}
	if changes := Changes(Saved{Inputs: before}, Saved{Inputs: PlanInputsOf(in.World, nil, nil)}); !slices.Equal(changes, []string{"machine gpu-01: in maintenance was yes and is no"}) {
		t.Errorf("got %v after its return", changes)
	}
}

// While jobs run on the machine, its return cancels the maintenance, and does nothing that
// needs an idle machine, or one that is on.
func TestReturnCancelsWhatWaits(t *testing.T) {
	t.Parallel()
	in := running(twoReleases(), "v0.10", "cp-01", "gpu-01")
	in.World.Machines[1] = running(twoReleases(), "v0.9", "cp-01", "gpu-01").World.Machines[1]
	m := &in.World.Machines[1]
	m.Node.Unschedulable, m.Node.Maintenance, m.Unreachable = true, "op-1", "no connection"
	p, err := Return(in, "gpu-01")
	if err != nil || len(p.Steps) != 2 || p.Steps[0].Kind != KindDNSBack || p.Steps[1].Kind != KindReturn || !slices.Contains(p.Steps[1].After, p.Steps[0].ID) {
		t.Errorf("got %v, %v, want only CoreDNS and the cordon undone", p.Steps, err)
	}
	// An etcd that was restored has the mark, and no record: the machine might be behind.
	m.Unreachable, m.Node.InMaintenance = "", true
	if p, err = Return(in, "gpu-01"); err != nil || len(p.Steps) < 2 {
		t.Errorf("got %v, %v, want the machine brought to the version of the cluster", p.Steps, err)
	}
}

// The record of a machine that left the configuration is removed by its return.
func TestReturnOfAMachineThatLeft(t *testing.T) {
	t.Parallel()
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01")
	in.World.Unconfigured.Maintained = []string{"gpu-09"}
	p, err := Return(in, "gpu-09")
	if err != nil || len(p.Steps) != 1 || p.Steps[0].Kind != KindReturn || p.Steps[0].To != "" {
		t.Errorf("got %v, %v, want only the record removed", p.Steps, err)
	}
	if _, err = Return(in, "gpu-08"); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("got %v for a machine without a record, want that it is unknown", err)
	}
	in.World.APIReachable = false
	if _, err = Return(in, "gpu-09"); err == nil {
		t.Error("got no error in an outage, where the marks of its node are unknown")
	}
}
