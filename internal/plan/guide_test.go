package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// stopped is a world after `service stop`.
func stopped(t *testing.T, in Input) Input {
	t.Helper()
	p, err := StopPlan(in, Choice{})
	if err != nil {
		t.Fatal(err)
	}
	in.World = in.After(in.World, p.Steps)
	if in.World.Current.Services != "" || len(in.World.Services) > 0 {
		t.Fatalf("services are left after a stop: %v", in.World.Services)
	}
	return in
}

// The guide's way for the services: configuration first, stop, start. What was
// stopped is upgraded like what runs: through hops, with its migrations.
func TestStartAfterStopUpgradesThroughHops(t *testing.T) {
	in := running(twoReleases(), "v0.9", "cp-01")
	kubernetes, err := Upgrade(in, Target{Release: "v0.10", KubernetesOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	in.World = in.After(in.World, kubernetes.Steps)
	in = stopped(t, in)
	p, err := Start(in, "v0.10", Choice{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Hop{{Kind: HopServices, From: "v0.9", To: "v0.10"}}; !slices.Equal(p.Hops, want) {
		t.Errorf("hops %v, want %v", p.Hops, want)
	}
	if p.From.Services != "v0.9" || p.To.Services != "v0.10" {
		t.Errorf("from %s to %s", p.From, p.To)
	}
	find := func(id StepID) Step {
		i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.ID == id })
		if i < 0 {
			t.Fatalf("no step %s in %v", id, p.Steps)
		}
		return p.Steps[i]
	}
	m := find("services/v0.10/migrate/users-by-entry")
	if m.Kind != KindMigrate || m.Target != "users-by-entry" || m.From != "v0.9" || !slices.Equal(m.After, []StepID{"services/v0.10/rest-server"}) {
		t.Errorf("migration %+v", m)
	}
	record := find("services/v0.10/record")
	if !slices.Contains(record.After, m.ID) {
		t.Errorf("the release is recorded after %v, and not after its migration", record.After)
	}
	in.World = in.After(in.World, p.Steps)
	if again, err := Upgrade(in, Target{Release: "v0.10"}); err != nil || !again.Empty() {
		t.Errorf("something is left: %v, %v", again.Steps, err)
	}
}

// A migration is planned while the old form is what is stored, whatever the
// services say of themselves, and never toward a release that does not have it.
func TestMigrationIsPlannedWhileOldFormIsStored(t *testing.T) {
	migrations := func(p Plan) string {
		var ids []string
		for _, s := range p.Steps {
			if s.Kind == KindMigrate {
				ids = append(ids, string(s.ID)+" "+string(s.From))
			}
		}
		return strings.Join(ids, ", ")
	}
	for _, c := range []struct {
		name, release string
		change        func(w *World)
		plan          func(in Input) (Plan, error)
		want          string
	}{
		{"upgrade", "v0.9", nil, func(in Input) (Plan, error) { return Upgrade(in, Target{Release: "v0.10"}) }, "services/v0.10/migrate/users-by-entry v0.9"},
		{"nothing of the old form", "v0.9", func(w *World) { w.Unmigrated = nil },
			func(in Input) (Plan, error) { return Upgrade(in, Target{Release: "v0.10"}) }, ""},
		{"start of the older release", "v0.9", nil, func(in Input) (Plan, error) { return Start(in, "v0.9", Choice{}) }, ""},
		{"killed just before it", "v0.10", func(w *World) { w.Unmigrated = []string{"users-by-entry"} },
			func(in Input) (Plan, error) { return Upgrade(in, Target{Release: "v0.10"}) }, "services/v0.10/migrate/users-by-entry "},
		{"one service that has nothing to do with it", "v0.10", func(w *World) { w.Unmigrated = []string{"users-by-entry"} },
			func(in Input) (Plan, error) { return Start(in, "v0.10", Choice{Names: []string{"prometheus"}}) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := running(twoReleases(), pai.Release(c.release), "cp-01")
			if c.change != nil {
				c.change(&in.World)
			}
			p, err := c.plan(in)
			if err != nil {
				t.Fatal(err)
			}
			if got := migrations(p); got != c.want {
				t.Errorf("migrations %q, want %q", got, c.want)
			}
			if left := in.After(in.World, p.Steps).Unmigrated; c.want != "" && len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// A cleaned machine keeps its identity and runs no pods: bringing it back
// touches no job, and must not wait for an API that is not there.
func TestBootOfCleanedMachineHasNoNodeRisk(t *testing.T) {
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01")
	in.World = in.After(in.World, Clean(in.World, false))
	in.World.APIReachable = false
	for i := range in.World.Machines {
		in.World.Machines[i].Joined = true
	}
	p, err := Boot(in, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if s.Risk == pai.RiskNode {
			t.Errorf("%s has risk %s", s.ID, s.Risk)
		}
	}
}
