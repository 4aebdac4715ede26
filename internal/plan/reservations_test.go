package plan

import (
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A busy machine keeps its reservations and gets everything else; the
// plan names it. An idle machine gets them in a step after its kubelet.
func TestReservationsWaitForIdleMachine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		waits      bool // the machine has other reservations
		busy, away bool
		step, note bool
	}{
		{name: "idle", waits: true, step: true},
		{name: "busy", waits: true, busy: true, note: true},
		{name: "jobs unknown", waits: true, away: true, note: true},
		{name: "done", busy: true},
		{name: "done and idle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := World{APIReachable: !c.away, Machines: []MachineState{{
				Name: "a", Joined: true, Node: &Node{}, Roles: map[Role]RoleState{RoleKubelet: {Link: "v0.11-pai", Running: "v0.11-pai"}},
			}}}
			if c.busy {
				w.Jobs = []pai.Job{{Pods: []pai.Pod{{Machine: "a", Containers: []pai.Container{{State: pai.ContainerRunning}}}}}}
			}
			expected := map[string]Expected{"a": {Versions: map[pai.KubernetesVersion]ExpectedVersion{"v0.11-pai": {Reserves: c.waits}}}}
			k := &kubernetes{world: w, to: "v0.11-pai", o: KubernetesOptions{Expected: expected}, graph: stepGraph{phase: "kubernetes/v0.11-pai"}}
			k.node(w.Machines[0])
			steps := k.graph.reduce()
			i := slices.IndexFunc(steps, Step.Reserves)
			if (i >= 0) != c.step {
				t.Errorf("got %v, want a step of the reservations: %v", steps, c.step)
			}
			if i >= 0 {
				s := steps[i]
				if s.Kind != KindKubelet || s.Risk != pai.RiskNode || !s.StopsStarts() || s.Back() {
					t.Errorf("got %+v, want a replaced kubelet", s)
				}
				last := steps[len(steps)-1]
				if last.Kind != KindUncordon || !slices.Contains(last.After, s.ID) {
					t.Errorf("got last %+v, want the cordon removed after the reservations", last)
				}
			}
			p := Plan{To: pai.Pair{Kubernetes: "v0.11-pai"}}
			Input{World: w, Expected: expected}.noteReservations(&p)
			if (len(p.Notes) == 1 && strings.Contains(p.Notes[0], "jobs run on a,")) != c.note || len(p.Notes) > 1 {
				t.Errorf("got notes %q, want one: %v", p.Notes, c.note)
			}
		})
	}
}

// Jobs start and end while a plan is read. What only they decide is no other plan.
func TestReservationsAreNoPlanChange(t *testing.T) {
	t.Parallel()
	kubelet := Step{ID: "a/kubelet", Kind: KindKubelet, Target: "a"}
	reserve := Step{ID: "a/reservations", Kind: KindKubelet, Target: "a", Differs: []string{DiffersReservations}, After: []StepID{"a/kubelet"}}
	uncordon := Step{ID: "a/uncordon", Kind: KindUncordon, Target: "a", After: []StepID{"a/kubelet"}}
	after := uncordon
	after.After = []StepID{"a/reservations", "a/kubelet"}
	alone := uncordon
	alone.After = []StepID{"a/reservations"}
	for _, c := range []struct {
		name     string
		was, now []Step
		same     bool
	}{
		{"in a hop", []Step{kubelet, uncordon}, []Step{kubelet, reserve, after}, true},
		{"alone", nil, []Step{reserve, alone}, true},
		{"another step as well", []Step{uncordon}, []Step{kubelet, reserve, after}, false},
	} {
		for _, lines := range [][]string{StepChanges(c.was, c.now), StepChanges(c.now, c.was)} {
			if (len(lines) == 0) != c.same {
				t.Errorf("%s: got %q, want no change: %v", c.name, lines, c.same)
			}
		}
	}
}
