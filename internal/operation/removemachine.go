package operation

import (
	"context"
	"fmt"
	"slices"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// RemoveMachine removes a worker from the cluster: its jobs end, it is cleaned, it leaves the
// layout, and what the cluster has of it goes.
func RemoveMachine(machine string) Goal { return &removeGoal{onMachine: onMachine{machine}} }

type removeGoal struct {
	onMachine
	earlier earlierRemoval
	// left is what stays on a machine that cannot be cleaned; empty for none.
	left string
}

func (g *removeGoal) Verb() pai.Verb { return pai.VerbRemove }
func (g *removeGoal) Plan(in plan.Input) (plan.Plan, error) {
	return plan.Remove(in, g.name, g.earlier.cleaned)
}

// Gather checks that the configuration is valid without the machine and can be pushed, and adds
// what the machine runs for another cluster. Of a machine that is not in the layout, the journal
// says whether an earlier run has cleaned it.
func (g *removeGoal) Gather(ctx context.Context, s *session.Session, in *plan.Input) (err error) {
	g.earlier, g.left = earlierRemoval{}, ""
	at := slices.IndexFunc(in.World.Machines, func(m plan.MachineState) bool { return m.Name == g.name })
	if at >= 0 && in.World.Machines[at].ControlPlane {
		return nil // planning refuses it
	}
	c, err := configsync.Read(ctx, s)
	if err != nil {
		return err
	}
	if err := c.CheckPush(s.Config.Dir); err != nil {
		return err
	}
	if at < 0 {
		journal, err := s.Journal()
		if err != nil {
			return err
		}
		return journal.Newest(ctx, func(op pai.Operation) bool { return g.earlier.add(op, g.Verb(), g.name) })
	}
	if err := config.CheckRemoveMachine(s.Config.Dir, g.name); err != nil {
		return err
	}
	m := in.World.Machines[at]
	if m.Node != nil && m.Node.Ready {
		return nil // it runs for this cluster
	}
	control, err := s.ControlPlane()
	if err != nil {
		return err
	}
	in.Occupied, err = cluster.Occupied(ctx, control, s.Hosts, []string{g.name})
	return err
}

// earlierRemoval is what earlier runs of a removal did.
type earlierRemoval struct {
	cleaned  bool // the machine
	accepted bool // that the machine is lost
}

// add takes the operations, newest first, and counts those of a verb, until it returns true.
func (e *earlierRemoval) add(op pai.Operation, verb pai.Verb, machine string) (enough bool) {
	if op.Verb != verb || op.Target.Machine != machine {
		return false
	}
	if op.Outcome == pai.OutcomeSucceeded {
		return true // of an earlier machine of this name
	}
	e.accepted = e.accepted || slices.Contains(op.AcceptedRisks, guard.AcceptLose(machine))
	for _, s := range op.Steps {
		done := s.Outcome == pai.OutcomeSucceeded || s.Outcome == pai.OutcomeSkipped
		e.cleaned = e.cleaned || done && s.ID == string(plan.CleanOfRemoval(machine))
	}
	return false
}

// Consequences are those of a machine that cannot be observed: what runs there stays.
func (g *removeGoal) Consequences(_ context.Context, _ *session.Session, _ plan.Plan, w plan.World) (consequences, error) {
	why := w.Lost(g.name)
	if why == "" || g.earlier.cleaned {
		return consequences{}, nil
	}
	g.left = fmt.Sprintf("what ran on %s, and the programs, images, certificates, and data of PAI there (not cleaned: %s)", g.name, why)
	if g.earlier.accepted {
		return consequences{}, nil
	}
	return consequences{risks: map[string]string{guard.AcceptLose(g.name): fmt.Sprintf(
		"what runs on %s is unknown and stays there (%s); jobs that the API has there start again on other machines, perhaps a second time", g.name, why)}}, nil
}

// Admit records what stays on the machine, and leaves the decision to the guard.
func (g *removeGoal) Admit(ctx context.Context, o *operation, s plan.Step) (bool, error) {
	entry := o.recorder.current()
	if g.left == "" || s.Kind != plan.KindRemoveNode || entry == nil {
		return false, nil
	}
	return false, entry.Update(ctx, func(op *pai.Operation) { op.Left = g.left })
}

// cordonLeft is the line about a machine that an error leaves cordoned; empty once it has left
// the layout, because it cannot return then.
func (g *removeGoal) cordonLeft(p plan.Plan, result run.Result) string {
	for i, s := range p.Steps {
		if s.Kind == plan.KindLayout && i < len(result.Steps) && (result.Steps[i].Outcome == pai.OutcomeSucceeded || result.Steps[i].Outcome == pai.OutcomeSkipped) {
			return ""
		}
	}
	if !slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return s.Kind == plan.KindCordon || s.Kind == plan.KindClean }) {
		return ""
	}
	return maintain{g.onMachine}.cordonLeft(p, result)
}
