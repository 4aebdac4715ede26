package plan

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestKindsOfMachinesReachTheirNodes(t *testing.T) {
	t.Parallel()
	a100, h100 := MachineKind{SKU: "a100", GPUs: 8}, MachineKind{SKU: "h100", GPUs: 8}
	for _, c := range []struct {
		name       string
		want       MachineKind
		node       *Node
		busy, away bool
		step, note bool
		risk       pai.Risk
	}{
		{name: "no node yet", want: a100},
		{name: "new", want: a100, node: &Node{}, step: true},
		{name: "new beside jobs", want: a100, node: &Node{}, busy: true, step: true},
		{name: "done", want: a100, node: &Node{Kind: a100}, busy: true},
		{name: "none", node: &Node{}, busy: true},
		{name: "other number of GPUs beside jobs", want: a100, node: &Node{Kind: MachineKind{SKU: "a100", GPUs: 4}}, busy: true, step: true},
		{name: "replaced", want: h100, node: &Node{Kind: a100}, step: true, risk: pai.RiskNode},
		{name: "replaced beside jobs", want: h100, node: &Node{Kind: a100}, busy: true, note: true},
		{name: "removed", node: &Node{Kind: a100}, step: true, risk: pai.RiskNode},
		{name: "removed beside jobs", node: &Node{Kind: a100}, busy: true, note: true},
		{name: "jobs unknown", want: h100, node: &Node{Kind: a100}, away: true, note: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := World{APIReachable: !c.away, Machines: []MachineState{{
				Name: "a", Kind: c.want, Joined: true, Node: c.node, Roles: map[Role]RoleState{RoleRuntime: {Link: "v0.11-pai", Running: "v0.11-pai"}, RoleKubelet: {Link: "v0.11-pai", Running: "v0.11-pai"}},
			}}}
			if c.busy {
				w.Jobs = []pai.Job{{Pods: []pai.Pod{{Machine: "a", Containers: []pai.Container{{State: pai.ContainerRunning}}}}}}
			}
			k := &kubernetes{world: w, to: "v0.11-pai", graph: stepGraph{phase: "kubernetes/v0.11-pai"}}
			k.node(w.Machines[0])
			steps := k.graph.reduce()
			i := slices.IndexFunc(steps, func(s Step) bool { return s.Kind == KindLabels })
			if (i >= 0) != c.step {
				t.Fatalf("got %v, want a step of the kind: %v", steps, c.step)
			}
			if i >= 0 {
				s := steps[i]
				if s.ID != "kubernetes/v0.11-pai/machine/a/labels" || s.Target != "a" || s.Risk != cmp.Or(c.risk, pai.RiskNone) {
					t.Errorf("got %+v, want the risk %q", s, c.risk)
				}
				last := steps[len(steps)-1]
				if c.risk == pai.RiskNode && (last.Kind != KindUncordon || !slices.Contains(last.After, s.ID)) {
					t.Errorf("got last %+v, want the cordon of the guard removed afterwards", last)
				}
				if after := (Input{}).After(w, steps); after.Machines[0].Node.Kind != c.want {
					t.Errorf("got the kind %v after the steps, want %v", after.Machines[0].Node.Kind, c.want)
				}
			}
			p := Plan{}
			Input{World: w}.noteKinds(&p)
			if (len(p.Notes) == 1 && strings.Contains(p.Notes[0], "jobs run on a,")) != c.note || len(p.Notes) > 1 {
				t.Errorf("got notes %q, want one: %v", p.Notes, c.note)
			}
		})
	}
}

// A job that ends while a plan is read lets a kind be replaced: that is no other plan.
func TestReplacedKindIsNoPlanChange(t *testing.T) {
	t.Parallel()
	labels := Step{ID: "a/labels", Kind: KindLabels, Target: "a"}
	uncordon := Step{ID: "a/uncordon", Kind: KindUncordon, Target: "a", After: []StepID{"a/labels"}}
	if lines := StepChanges(nil, []Step{labels, uncordon}); len(lines) > 0 {
		t.Errorf("got %q, want no change", lines)
	}
}
