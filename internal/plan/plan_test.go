package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// drawInput draws machines that run some release, or nothing yet.
func drawInput(t *rapid.T) Input {
	releases := manyReleases(rapid.IntRange(2, 7).Draw(t, "releases"))
	names := []string{"cp-01", "gpu-01", "gpu-02", "gpu-03"}[:rapid.IntRange(1, 4).Draw(t, "machines")]
	at := rapid.IntRange(0, len(releases)).Draw(t, "at")
	if at == 0 {
		return input(bare(names...), releases)
	}
	return running(releases, releases[at-1].Metadata.Name, names...)
}

// drawGoal draws a boot where nothing runs, else an upgrade.
func drawGoal(t *rapid.T, in Input) func(Input) (Plan, error) {
	to := rapid.SampledFrom(in.Releases).Draw(t, "to")
	if in.World.Current.Kubernetes == "" {
		return func(in Input) (Plan, error) { return Boot(in, pairOf(to)) }
	}
	only := rapid.IntRange(0, 3).Draw(t, "only")
	target := Target{Release: to.Metadata.Name, KubernetesOnly: only == 1, ServicesOnly: only == 2}
	return func(in Input) (Plan, error) { return Upgrade(in, target) }
}

// linear draws one order in which an executor could do the steps.
func linear(t *rapid.T, p Plan) []Step {
	done := map[StepID]bool{}
	left := slices.Clone(p.Steps)
	var order []Step
	for len(left) > 0 {
		var ready []int
		for i, s := range left {
			if all := !slices.ContainsFunc(s.After, func(id StepID) bool { return !done[id] }); all {
				ready = append(ready, i)
			}
		}
		if len(ready) == 0 {
			t.Fatalf("no step is ready; left: %v", left)
		}
		i := rapid.SampledFrom(ready).Draw(t, "next")
		order = append(order, left[i])
		done[left[i].ID] = true
		left = slices.Delete(left, i, i+1)
	}
	return order
}

// A plan that was executed leaves nothing to plan, wherever an earlier run was
// interrupted.
func TestPlanConvergesFromAnyInterruption(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		goal := drawGoal(t, in)
		p, err := goal(in)
		if err != nil {
			t.Skip("no plan")
		}
		order := linear(t, p)
		cut := rapid.IntRange(0, len(order)).Draw(t, "killed after")
		in.World = in.World.After(order[:cut], in.Digests)
		in.World.APIReachable = true

		rest, err := goal(in)
		if err != nil {
			t.Fatalf("planning again after %d of %d steps: %v", cut, len(order), err)
		}
		if err := rest.Validate(); err != nil {
			t.Fatal(err)
		}
		first := map[StepID]bool{}
		for _, s := range p.Steps {
			first[s.ID] = true
		}
		for _, s := range rest.Steps {
			if !first[s.ID] {
				t.Fatalf("after %d steps %s is planned, which was not in the first plan", cut, s.ID)
			}
		}
		in.World = in.World.After(rest.Steps, in.Digests)
		if in.World.Current.Kubernetes != p.To.Kubernetes || in.World.Current.Services != p.To.Services {
			t.Fatalf("ended at %s, want %s", in.World.Current, p.To)
		}
		again, err := goal(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range again.Steps {
			if p.Verb == pai.VerbUpgrade || !slices.Contains([]Kind{KindBootstrap, KindDNS, KindRecord}, s.Kind) {
				t.Fatalf("%s is planned when all is done", s.ID)
			}
		}
	})
}

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
		in.World = before.After([]Step{s}, in.Digests)
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

// What is left out of a stepGraph leaves the order of the rest as it was.
func TestStepGraphReduceKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "steps")
		var d stepGraph
		before := make([]map[int]bool, n) // all that a step has to come after
		needed := make([]bool, n)
		for i := range n {
			before[i] = map[int]bool{}
			var after []StepID
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
					after = append(after, StepID(fmt.Sprint(j)))
					before[i][j] = true
					for k := range before[j] {
						before[i][k] = true
					}
				}
			}
			needed[i] = rapid.Bool().Draw(t, "needed")
			d.add(needed[i], Step{ID: StepID(fmt.Sprint(i)), Kind: KindRole}, after...)
		}
		steps := d.reduce()
		if err := (Plan{Steps: steps}).Validate(); err != nil {
			t.Fatal(err)
		}
		has := map[StepID]map[StepID]bool{}
		for _, s := range steps {
			has[s.ID] = map[StepID]bool{}
			for _, a := range s.After {
				has[s.ID][a] = true
				for b := range has[a] {
					has[s.ID][b] = true
				}
			}
		}
		for i := range n {
			for j := range n {
				if !needed[i] || !needed[j] {
					continue
				}
				if got := has[StepID(fmt.Sprint(i))][StepID(fmt.Sprint(j))]; got != before[i][j] {
					t.Fatalf("step %d comes after %d: %v, want %v", i, j, got, before[i][j])
				}
			}
		}
	})
}

func TestValidateReportsAllFaults(t *testing.T) {
	p := Plan{Steps: []Step{
		{ID: "a", Kind: KindDNS, After: []StepID{"b"}},
		{ID: "b", Kind: KindDNS, After: []StepID{"a"}},
		{ID: "b", Kind: KindDNS, After: []StepID{"gone"}},
		{ID: "c"},
	}}
	err := p.Validate()
	if err == nil {
		t.Fatal("a plan with four faults is valid")
	}
	for _, want := range []string{`"a" waits for "b"`, `"b" waits for "gone"`, `duplicate step "b"`, `"c"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
	if err := (Plan{Steps: []Step{{ID: "a", Kind: KindDNS}, {ID: "b", Kind: KindDNS, After: []StepID{"a"}}}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestPlanOfUnsupportedGoalIsRefused(t *testing.T) {
	two := twoReleases()
	ten := running(two, "v0.10", "cp-01")
	nine := running(two, "v0.9", "cp-01")
	noControlPlane := bare("cp-01")
	noControlPlane.Machines[0].ControlPlane = false
	for _, c := range []struct {
		name     string
		plan     func() error
		code     pai.Code
		contains string
	}{
		{"boot to older", func() error {
			_, err := Boot(ten, pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
			return err
		}, pai.CodeRefused, "cannot downgrade"},
		{"start older", func() error { _, err := Start(ten, "v0.9", Choice{}); return err }, pai.CodeRefused, "cannot downgrade"},
		{"start on too old a Kubernetes", func() error {
			in := nine
			in.World = in.World.After([]Step{{Kind: KindStop, Target: "kueue"}}, nil)
			in.World.Services, in.World.Current.Services, in.World.RecordedServices = map[string]Installed{}, "", ""
			_, err := Start(in, "v0.10", Choice{})
			return err
		}, pai.CodeRefused, "run on Kubernetes v0.10-pai or newer"},
		{"start newer, which needs Kubernetes", func() error { _, err := Start(nine, "v0.10", Choice{}); return err }, pai.CodeRefused, "does not upgrade Kubernetes"},
		{"start older than what was stopped", func() error {
			_, err := Start(stopped(t, ten), "v0.9", Choice{})
			return err
		}, pai.CodeRefused, "cannot downgrade"},
		{"start one newer than what was stopped", func() error {
			in := stopped(t, nine)
			in.World.Current.Kubernetes = "v0.10-pai"
			_, err := Start(in, "v0.10", Choice{Names: []string{"kueue"}})
			return err
		}, pai.CodeRefused, "single services"},
		{"start one newer", func() error { _, err := Start(nine, "v0.10", Choice{Names: []string{"kueue"}}); return err }, pai.CodeRefused, "single services"},
		{"start without Kubernetes", func() error { _, err := Start(input(bare("cp-01"), two), "v0.9", Choice{}); return err }, pai.CodeRefused, "no Kubernetes"},
		{"no control plane", func() error {
			_, err := Boot(input(noControlPlane, two), pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"})
			return err
		}, pai.CodeInvalid, "control-plane"},
		{"unknown service", func() error { _, err := StopPlan(nine, Choice{Names: []string{"nope"}}); return err }, pai.CodeUsage, "nope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.plan()
			if err == nil || pai.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.contains) {
				t.Errorf("got %v (code %s), want code %s and %q", err, pai.CodeOf(err), c.code, c.contains)
			}
		})
	}
}

func TestOrderSortsOrFails(t *testing.T) {
	name := func(services []ServiceSpec) string {
		var names []string
		for _, s := range services {
			names = append(names, s.Name)
		}
		return strings.Join(names, " ")
	}
	for _, c := range []struct {
		name, want, err string
		services        []ServiceSpec
	}{
		{"by prerequisites, then name", "b c a", "", []ServiceSpec{{Name: "a", Prerequisites: []string{"c"}}, {Name: "c", Prerequisites: []string{"b"}}, {Name: "b"}}},
		{"circle", "", "circle", []ServiceSpec{{Name: "a", Prerequisites: []string{"b"}}, {Name: "b", Prerequisites: []string{"a"}}}},
		{"missing", "", "a needs b, which does not exist", []ServiceSpec{{Name: "a", Prerequisites: []string{"b"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Order(c.services)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil || name(got) != c.want {
				t.Errorf("got %q, %v, want %q", name(got), err, c.want)
			}
		})
	}
}

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
