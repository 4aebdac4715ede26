package plan

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// Any machines wait in upgrades over many releases. The control plane and all
// other machines continue, and no API server is started that could not serve the
// kubelet or kube-proxy of a waiting machine.
func TestBlocksWhenWaitingBlocksOnlyWhatDepends(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		many := drawReleases(t, rapid.IntRange(2, 7).Draw(t, "releases"))
		in := running(many, "v0.9", "cp-01", "gpu-01", "gpu-02")
		newest := many[len(many)-1].Metadata.Name
		p, err := Upgrade(in, Target{Release: newest})
		if err != nil {
			t.Fatal(err)
		}
		busy := map[string]bool{}
		for _, m := range in.World.Machines {
			busy[m.Name] = rapid.Bool().Draw(t, m.Name)
		}
		type on struct {
			machine string
			role    Role
		}
		has := map[on]pai.KubernetesVersion{}
		for _, m := range in.World.Machines {
			for _, r := range []Role{RoleKubelet, RoleKubeProxy} {
				has[on{m.Name, r}] = m.Roles[r].version()
			}
		}
		pins := PinsOf(many)
		left := map[StepID]bool{} // waits, or is blocked
		byID := map[StepID]Step{}
		for _, s := range p.Steps {
			byID[s.ID] = s
			held := s.Risk == pai.RiskNode && busy[s.Target]
			for _, id := range s.After {
				held = held || left[id] && BlocksWhenWaiting(byID[id], s)
			}
			left[s.ID] = held
			switch {
			case held:
			case s.Kind == KindKubelet:
				has[on{s.Target, RoleKubelet}] = s.To.Kubernetes()
			case s.Role == RoleKubeProxy:
				has[on{s.Target, RoleKubeProxy}] = s.To.Kubernetes()
			case s.Kind == KindAPIServer:
				for one, v := range has {
					if minors, ok := pins.behind(v, s.To.Kubernetes()); !ok || minors > nodeSkew {
						t.Fatalf("the API server goes to %s while the %s of %s is %s", s.To, one.role, one.machine, v)
					}
				}
			}
		}
		for _, s := range p.Steps {
			none := !slices.Contains([]bool{busy["cp-01"], busy["gpu-01"], busy["gpu-02"]}, true)
			near, _ := pins.behind("v0.9-pai", s.To.Kubernetes())
			within := s.Kind == KindService || s.Kind == KindImages || near <= nodeSkew
			if left[s.ID] && (none || s.Target == "" && s.Kind != KindService && within && len(many) <= nodeSkew+1) {
				t.Errorf("%s is blocked; busy: %v", s.ID, busy)
			}
			if left[s.ID] && len(many) <= nodeSkew+1 && s.Target != "" && byName(in.World, s.Target) && !busy[s.Target] {
				t.Errorf("%s is blocked by another machine; busy: %v", s.ID, busy)
			}
		}
	})
}

func byName(w World, name string) bool {
	return slices.ContainsFunc(w.Machines, func(m MachineState) bool { return m.Name == name })
}
