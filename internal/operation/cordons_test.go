package operation

import (
	"fmt"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// TestRoom: PAI's cordons are lifted where services would find no place, and
// only then; they are there again afterwards unless the machine is done.
func TestRoom(t *testing.T) {
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
		"no place":               {services, pais, theirs, pai.OutcomeSucceeded, false, "map[b:them]", "map[a:op-1 b:them]"},
		"a place is left":        {services, pais, plan.Node{}, pai.OutcomeSucceeded, false, "map[a:op-1]", "map[a:op-1]"},
		"state is kept there":    {services, pais, plan.Node{}, pai.OutcomeSucceeded, true, "map[]", "map[a:op-1]"},
		"nothing is rolled":      {machines, pais, theirs, pai.OutcomeSucceeded, false, "map[a:op-1 b:them]", "map[a:op-1 b:them]"},
		"the machine is done":    {both, pais, theirs, pai.OutcomeSkipped, false, "map[b:them]", "map[b:them]"},
		"the machine waits on":   {both, pais, theirs, pai.OutcomeWaiting, false, "map[b:them]", "map[a:op-1 b:them]"},
		"all are the operator's": {services, theirs, theirs, pai.OutcomeSucceeded, false, "map[a:them b:them]", "map[a:them b:them]"},
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
				t.Errorf("meanwhile %s, error %v; want %s", got, err, c.during)
			}
			err = r.restoreCordons(t.Context(), c.plan, resultOf(c.plan, func(plan.Step) pai.Outcome { return c.outcome }))
			if got := fmt.Sprint(f.by); err != nil || got != c.after {
				t.Errorf("afterwards %s, error %v; want %s", got, err, c.after)
			}
		})
	}
	f := &field{by: map[string]string{"a": "op-1"}}
	r := liftedCordons{nodes: f, lifted: map[string]string{"a": "op-1"}}
	delete(f.by, "a")
	if err := r.restoreCordons(t.Context(), both, run.Result{}); err != nil || f.by["a"] != "op-1" {
		t.Errorf("nothing was done: %v, error %v", f.by, err)
	}
}
