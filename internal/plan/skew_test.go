package plan

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// In every order of the steps, the versions always fit the skew policy of
// Kubernetes, and no version is downgraded. This also holds if a run is killed
// anywhere and another run follows, to the same goal or to another.
func TestPlanInAnyOrderKeepsVersionSkew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if in.World.ClusterID != "" && rapid.Bool().Draw(t, "straggler") {
			age(t, in)
		}
		fitting(t, &in, drawGoal(t, in), rapid.Bool().Draw(t, "killed"))
	})
}

// fitting executes a plan and checks the versions after each step. After a kill
// it plans again, until a plan is complete.
func fitting(t *rapid.T, in *Input, goal func(Input) (Plan, error), killed bool) {
	p, err := goal(*in)
	if err != nil {
		return // no way there
	}
	order := linear(t, p)
	if killed {
		order = order[:rapid.IntRange(0, len(order)).Draw(t, "killed after")]
	}
	pins := PinsOf(in.Releases)
	for _, s := range order {
		before := in.World
		in.World = in.After(before, []Step{s})
		if s.From != "" && s.To != "" && s.Back() {
			t.Fatalf("%s downgrades from %s to %s", s.ID, s.From, s.To)
		}
		if problem := skew(in.World, pins); problem != "" && skew(before, pins) == "" {
			t.Fatalf("after %s: %s", s.ID, problem)
		}
	}
	if !killed {
		return
	}
	in.World.APIReachable = in.World.ClusterID != ""
	if in.World.Current.Kubernetes != "" && rapid.Bool().Draw(t, "another goal") {
		goal = drawGoal(t, *in)
	}
	fitting(t, in, goal, rapid.Bool().Draw(t, "killed again"))
}

// age leaves some workers behind, within the skew: what runs their pods, or
// kube-proxy alone, as after a run that was killed between the two.
func age(t *rapid.T, in Input) {
	for i := range in.World.Machines {
		m := &in.World.Machines[i]
		if m.ControlPlane || !rapid.Bool().Draw(t, "behind") {
			continue
		}
		now := slices.IndexFunc(in.Releases, func(r release.Manifest) bool { return r.Kubernetes.Version == in.World.Current.Kubernetes })
		old := in.Releases[max(0, now-rapid.SampledFrom([]int{3, 1, 2, 0}).Draw(t, "minors"))].Kubernetes.Version
		roles := []Role{RoleRuntime, RoleKubelet, RoleKubeProxy}
		if rapid.Bool().Draw(t, "kube-proxy alone") {
			roles = roles[2:]
		}
		for _, r := range roles {
			m.Roles[r] = RoleState{Link: old, Running: old}
		}
	}
}

// An API server waits for whatever on a machine would be too old for it: each
// of the kubelet and kube-proxy by itself, since one follows the other.
func TestAPIServerWaitsForTooOldKubeletAndKubeProxy(t *testing.T) {
	releases := manyReleases(7)
	behind := map[string][]Role{
		"the machine":      {RoleRuntime, RoleKubelet, RoleKubeProxy},
		"kube-proxy alone": {RoleKubeProxy},
	}
	for name, roles := range behind {
		t.Run(name, func(t *testing.T) {
			in := running(releases, "v0.14", "cp-01", "gpu-01")
			for _, r := range roles {
				in.World.Machines[1].Roles[r] = RoleState{Link: "v0.11-pai", Running: "v0.11-pai"}
			}
			p, err := Upgrade(in, Target{Release: "v0.15", KubernetesOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Kind == KindAPIServer })
			if i < 0 {
				t.Fatal("no API server in the plan")
			}
			waits := p.Steps[i].After
			for _, r := range roles {
				id := StepID("kubernetes/v0.14-pai/machine/gpu-01/" + string(r))
				if r != RoleRuntime && !slices.Contains(waits, id) { // its version is the kubelet's affair
					t.Errorf("%s waits for %v, not for %s", p.Steps[i].ID, waits, id)
				}
			}
		})
	}
}

// skew is what upstream's version skew policy says against a world.
func skew(w World, pins Pins) string {
	var api pai.KubernetesVersion
	for _, m := range w.Machines {
		for _, r := range []Role{RoleAPIServerA, RoleAPIServerB} {
			if v := m.Roles[r].Running; v != "" {
				api = v
			}
		}
	}
	for _, m := range w.Machines {
		for _, r := range []Role{RoleKubelet, RoleKubeProxy, RoleControllerManager, RoleScheduler} {
			v := m.Roles[r].Running
			if v == "" {
				continue
			}
			allowed := nodeSkew
			if r == RoleControllerManager || r == RoleScheduler {
				allowed = 1
			}
			behind, ok := pins.behind(v, api)
			if !ok || behind < 0 || behind > allowed {
				return fmt.Sprintf("%s on %s runs %s beside an API server %s", r, m.Name, v, api)
			}
			if r == RoleKubelet && !slices.Contains(m.Programs, v) {
				return fmt.Sprintf("%s runs kubelet %s without its programs", m.Name, v)
			}
		}
	}
	return ""
}

// No machine's kubelet hops more often than the skew demands.
func TestUpgradeHopsKubeletsAsRarelyAsSkewAllows(t *testing.T) {
	in := running(manyReleases(7), "v0.9", "cp-01", "gpu-01")
	p, err := Upgrade(in, Target{Release: "v0.15"})
	if err != nil {
		t.Fatal(err)
	}
	var hops []pai.AnyVersion
	for _, s := range p.Steps {
		if s.Kind == KindKubelet && s.Target == "gpu-01" {
			hops = append(hops, s.To)
		}
	}
	if want := []pai.AnyVersion{"v0.12-pai", "v0.15-pai"}; !slices.Equal(hops, want) {
		t.Errorf("the worker's kubelet goes to %v, want %v", hops, want)
	}
}
