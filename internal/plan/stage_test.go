package plan

import (
	"slices"
	"strings"
	"testing"
)

// What was staged is all that the upgrade would have copied, and nothing else.
func TestStagePlanCopiesWhatUpgradeCopies(t *testing.T) {
	t.Parallel()
	for _, releases := range []int{2, 5} {
		rows := twoReleases()
		to := rows[1].Metadata.Name
		if releases > 2 {
			rows = manyReleases(releases)
			to = rows[releases-1].Metadata.Name
		}
		in := running(rows, rows[0].Metadata.Name, "cp-01", "gpu-01", "gpu-02")
		copies := func() []StepID {
			t.Helper()
			p, err := Upgrade(in, Target{Release: to})
			if err != nil {
				t.Fatal(err)
			}
			var ids []StepID
			for _, s := range p.Steps {
				if s.Kind == KindPrograms || s.Kind == KindImages {
					ids = append(ids, s.ID)
				}
			}
			return ids
		}
		p, err := StagePlan(in, Target{Release: to})
		if err != nil {
			t.Fatal(err)
		}
		var staged []StepID
		for _, s := range p.Steps {
			staged = append(staged, s.ID)
		}
		if want := copies(); len(want) == 0 || !slices.Equal(staged, want) {
			t.Errorf("staged are %v, the upgrade copies %v", staged, want)
		}
		if p.To != in.World.Current || len(p.Hops) != 0 {
			t.Errorf("it moves the cluster to %s by %v", p.To, p.Hops)
		}
		in.World = in.After(in.World, p.Steps)
		if left := copies(); len(left) != 0 {
			t.Errorf("after staging the upgrade still copies %v", left)
		}
		if again, err := StagePlan(in, Target{Release: to}); err != nil || len(again.Steps) != 0 {
			t.Errorf("staging again: %v, error %v", again.Steps, err)
		}
	}
}

// An unreachable machine is left to the upgrade, and a note names it.
func TestStagePlanWithUnreachableMachineHasNote(t *testing.T) {
	t.Parallel()
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01", "gpu-02")
	in.World.Machines[1] = MachineState{Name: "gpu-01", Unreachable: "no route"}
	in.World.Machines[2] = MachineState{Name: "gpu-02", Address: "10.0.0.3"} // nothing is on it yet
	p, err := StagePlan(in, Target{Release: "v0.10"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if s.Target != "cp-01" {
			t.Errorf("%s is planned", s.ID)
		}
	}
	if len(p.Steps) == 0 || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "gpu-01") {
		t.Errorf("steps %v, notes %q", p.Steps, p.Notes)
	}
}
