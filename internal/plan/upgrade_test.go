package plan

import (
	"fmt"
	"slices"
	"testing"

	"pai.dev/pai/internal/pai"
)

// What is newer than the target, because an earlier run got further, stays.
func TestPlanToOlderPairKeepsNewerComponents(t *testing.T) {
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01")
	newer := RoleState{Link: "v0.10-pai", Running: "v0.10-pai"}
	in.World.Machines[0].Roles[RoleAPIServerB] = newer
	in.World.Machines[0].Roles[RoleAPIServerA] = RoleState{Link: "v0.9-pai"}
	in.World.Machines[1].Roles[RoleKubelet] = newer
	in.World.Services["kueue"] = Installed{Release: "v0.10"}
	boot, err := Boot(in, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
	if err != nil {
		t.Fatal(err)
	}
	start, err := Start(in, "v0.9", Choice{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(boot.Steps, start.Steps...) {
		if s.Kind == KindAPIServer || s.Kind == KindKubelet || s.Target == "kueue" {
			t.Errorf("%s goes from %s to %s", s.ID, s.From, s.To)
		}
	}
}

// A handover that was interrupted with both slots running is completed.
func TestUpgradeAfterIncompleteHandoverCompletesIt(t *testing.T) {
	for _, slots := range [][2]Role{{RoleEtcdA, RoleEtcdB}, {RoleAPIServerA, RoleAPIServerB}} {
		in := running(twoReleases(), "v0.9", "cp-01")
		in.World.Machines[0].Roles[slots[1]] = RoleState{Link: "v0.10-pai", Running: "v0.10-pai"}
		p, err := Upgrade(in, Target{Release: "v0.10"})
		if err != nil {
			t.Fatal(err)
		}
		want := map[Role]Kind{RoleEtcdA: KindEtcd, RoleAPIServerA: KindAPIServer}[slots[0]]
		planned := func(p Plan) bool {
			return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == want })
		}
		if !planned(p) {
			t.Errorf("%s and %s both run, and no %s is planned", slots[0], slots[1], want)
		}
		// The link of the retired slot is deleted last: while it exists, the
		// slot's data or the proxy's configuration can exist, too.
		in.World.Machines[0].Roles[slots[0]] = RoleState{Link: "v0.9-pai"}
		if p, err = Upgrade(in, Target{Release: "v0.10"}); err != nil {
			t.Fatal(err)
		}
		if !planned(p) {
			t.Errorf("%s has stopped and is not retired, and no %s is planned", slots[0], want)
		}
		in.World.Machines[0].Roles[slots[0]] = RoleState{}
		if p, err = Upgrade(in, Target{Release: "v0.10"}); err != nil {
			t.Fatal(err)
		}
		if planned(p) {
			t.Errorf("%s has taken over, and %s is planned", slots[1], want)
		}
	}
}

// An unreachable machine is planned as if it were bare and had jobs, and blocks
// no other machine.
func TestUpgradeWithUnreachableMachineBlocksNoOther(t *testing.T) {
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01", "gpu-02")
	in.World.Machines[1] = MachineState{Name: "gpu-01", Unreachable: "no route"}
	p, err := Upgrade(in, Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	lost := map[StepID]bool{}
	for _, s := range p.Steps {
		own := s.Target == "gpu-01"
		if own {
			lost[s.ID] = true
		}
		if s.ID == "kubernetes/v0.10-pai/machine/gpu-01/kubelet" && s.Risk != pai.RiskNode {
			t.Errorf("risk of %s is %s", s.ID, s.Risk)
		}
		for _, id := range s.After {
			if !own && lost[id] {
				t.Errorf("%s waits for the unreachable machine's %s", s.ID, id)
			}
		}
	}
	if len(lost) == 0 {
		t.Error("nothing is planned for the unreachable machine")
	}
}

func BenchmarkUpgrade5000Machines(b *testing.B) {
	names := []string{"cp-01"}
	for i := range 5000 {
		names = append(names, fmt.Sprintf("gpu-%04d", i))
	}
	in := running(manyReleases(5), "v0.9", names...)
	b.ReportAllocs()
	for b.Loop() {
		p, err := Upgrade(in, Target{Release: "v0.13"})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(p.Steps)), "steps")
	}
}
