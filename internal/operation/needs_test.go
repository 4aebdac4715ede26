package operation

import (
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

func TestNeedsOfACluster(t *testing.T) {
	t.Parallel()
	row := func(name pai.Release, services pai.ServicesVersion, kubernetes pai.KubernetesVersion) release.Manifest {
		var m release.Manifest
		m.Metadata.Name, m.Services.Version, m.Kubernetes.Version = name, services, kubernetes
		return m
	}
	known := []release.Manifest{row("v0.12", "v0.12", "v0.12-pai"), row("v0.10", "v0.10", "v0.10-pai"), row("v0.10.1", "v0.10", "v0.10.1-pai"), row("v0.11", "v0.11", "v0.10.1-pai")}
	old := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	with := func(change func(*plan.World)) plan.World {
		w := plan.World{APIReachable: true, Current: old, RecordedServices: "v0.10",
			Machines: []plan.MachineState{{Name: "m", Roles: map[plan.Role]plan.RoleState{plan.RoleKubelet: {Link: "v0.10-pai", Running: "v0.10-pai"}}}},
			Services: map[string]plan.Installed{"kueue": {Release: "v0.10"}}}
		change(&w)
		return w
	}
	steps := func(kinds ...plan.Kind) plan.Plan {
		p := plan.Plan{From: old, To: pai.Pair{Services: "v0.12", Kubernetes: "v0.12-pai"}}
		for _, k := range kinds {
			p.Steps = append(p.Steps, plan.Step{Kind: k})
		}
		return p
	}
	for _, c := range []struct {
		name  string
		world plan.World
		plan  plan.Plan
		want  pai.Release
		all   bool
	}{
		{"the older release alone", with(func(*plan.World) {}), plan.Plan{From: old, To: old}, "v0.10", true},
		{"an upgrade", with(func(*plan.World) {}), steps(plan.KindPrograms, plan.KindKubelet), "v0.12", true},
		{"an upgrade that is staged", with(func(*plan.World) {}), steps(plan.KindPrepare, plan.KindPrograms, plan.KindImages), "v0.10", true},
		{"another build of the version", with(func(w *plan.World) {
			w.Machines[0].Roles[plan.RoleKubelet] = plan.RoleState{Link: "v0.10-pai+0123456789ab"}
		}), plan.Plan{}, "v0.10", true},
		{"a Kubernetes of two releases", with(func(w *plan.World) { w.Current.Kubernetes = "v0.10.1-pai" }), plan.Plan{}, "v0.10.1", true},
		{"a link to a newer version", with(func(w *plan.World) { w.Machines[0].Roles[plan.RoleEtcdA] = plan.RoleState{Link: "v0.12-pai"} }), plan.Plan{}, "v0.12", true},
		{"a newer program runs", with(func(w *plan.World) { w.Machines[0].Roles[plan.RoleEtcdA] = plan.RoleState{Running: "v0.12-pai"} }), plan.Plan{}, "v0.12", true},
		{"a newer service", with(func(w *plan.World) { w.Services["kueue"] = plan.Installed{Release: "v0.11"} }), plan.Plan{}, "v0.11", true},
		{"newer services, stopped", with(func(w *plan.World) { w.RecordedServices, w.Services = "v0.11", nil }), plan.Plan{}, "v0.11", true},
		{"no API", with(func(w *plan.World) { w.APIReachable = false }), plan.Plan{}, "v0.10", false},
		{"an unreachable machine", with(func(w *plan.World) { w.Machines[0].Unreachable = "timeout" }), plan.Plan{}, "v0.10", false},
	} {
		needs, all := needsOf(known, c.world, c.plan)
		if needs != c.want || all != c.all {
			t.Errorf("%s: got %s (all known: %t), want %s (%t)", c.name, needs, all, c.want, c.all)
		}
	}
}
