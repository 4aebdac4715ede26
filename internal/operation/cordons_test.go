package operation

import (
	"fmt"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// The PAI cordons are lifted only if the pods of services need a machine, and
// restored unless the machine is done.
func TestLiftedCordons(t *testing.T) {
	t.Parallel()
	services := plan.Plan{Steps: []plan.Step{{ID: "s", Kind: plan.KindService}}}
	machines := plan.Plan{Steps: []plan.Step{kubeletOf("a")}}
	both := plan.Plan{Steps: []plan.Step{{ID: "s", Kind: plan.KindService}, {ID: "u", Kind: plan.KindUncordon, Target: "a"}}}
	pais := plan.Node{Unschedulable: true, CordonedByPAI: true, CordonedBy: "op-1"}
	theirs := plan.Node{Unschedulable: true}
	for name, c := range map[string]struct {
		plan          plan.Plan
		a, b          plan.Node
		outcome       pai.Outcome
		controlPlane  bool // a carries it
		during, after string
	}{
		"no schedulable machine":  {services, pais, theirs, pai.OutcomeSucceeded, false, "map[b:them]", "map[a:op-1 b:them]"},
		"a schedulable machine":   {services, pais, plan.Node{}, pai.OutcomeSucceeded, false, "map[a:op-1]", "map[a:op-1]"},
		"control-plane machine":   {services, pais, plan.Node{}, pai.OutcomeSucceeded, true, "map[]", "map[a:op-1]"},
		"no pods are rolled":      {machines, pais, theirs, pai.OutcomeSucceeded, false, "map[a:op-1 b:them]", "map[a:op-1 b:them]"},
		"the machine is done":     {both, pais, theirs, pai.OutcomeSkipped, false, "map[b:them]", "map[b:them]"},
		"the machine still waits": {both, pais, theirs, pai.OutcomeWaiting, false, "map[b:them]", "map[a:op-1 b:them]"},
		"cordons of the operator": {services, theirs, theirs, pai.OutcomeSucceeded, false, "map[a:them b:them]", "map[a:them b:them]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &field{by: map[string]string{}}
			w := plan.World{Machines: []plan.MachineState{{Name: "a", Node: &c.a, ControlPlane: c.controlPlane}, {Name: "b", Node: &c.b}}}
			for _, m := range w.Machines {
				if m.Node.CordonedByPAI {
					f.by[m.Name] = m.Node.CordonedBy
				} else if m.Node.Unschedulable {
					f.by[m.Name] = "them"
				}
			}
			r, err := liftCordons(t.Context(), f, c.plan, w)
			if got := fmt.Sprint(f.by); err != nil || got != c.during {
				t.Errorf("during: got %s, error %v; want %s", got, err, c.during)
			}
			err = r.restoreCordons(t.Context(), c.plan, resultOf(c.plan, func(plan.Step) pai.Outcome { return c.outcome }))
			if got := fmt.Sprint(f.by); err != nil || got != c.after {
				t.Errorf("after: got %s, error %v; want %s", got, err, c.after)
			}
		})
	}
	f := &field{by: map[string]string{"a": "op-1"}}
	r := liftedCordons{nodes: f, lifted: map[string]string{"a": "op-1"}}
	delete(f.by, "a")
	if err := r.restoreCordons(t.Context(), both, run.Result{}); err != nil || f.by["a"] != "op-1" {
		t.Errorf("no step ran: got %v, error %v", f.by, err)
	}
}
