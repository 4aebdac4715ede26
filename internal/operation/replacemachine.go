package operation

import (
	"context"
	"fmt"
	"slices"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// ReplaceControlPlane puts a machine of the layout in the place of a control-plane machine that is
// lost. The layout has the change already.
func ReplaceControlPlane(s *session.Session, lost, with string) Goal {
	return &replaceGoal{removeGoal: removeGoal{onMachine: onMachine{lost}}, with: with, bundle: s.Config.Release(), release: releaseOf(s)}
}

type replaceGoal struct {
	repeatsSteps
	removeGoal
	with    string
	bundle  pai.Release // of the configuration
	release pai.Release // with its Kubernetes
}

func (g *replaceGoal) Verb() pai.Verb                                  { return pai.VerbReplace }
func (g *replaceGoal) Plan(in plan.Input) (plan.Plan, error)           { return plan.Replace(in, g.name, g.with) }
func (g *replaceGoal) Bundle(*session.Session, plan.World) pai.Release { return g.bundle }
func (g *replaceGoal) Preflight() (check.Stage, pai.Release)           { return check.Boot, g.release }
func (g *replaceGoal) Applies(plan.Plan) []revision.Part               { return []revision.Part{revision.Kubernetes} }
func (g *replaceGoal) cordonLeft(plan.Plan, run.Result) string         { return "" }

// Leads is the version that the cluster runs.
func (g *replaceGoal) Leads(_ *session.Session, w plan.World) pai.KubernetesVersion {
	return w.Current.Kubernetes
}

// Gather asks whether the machine is dead, reads what earlier runs did, and adds what the other
// machine runs for another cluster.
func (g *replaceGoal) Gather(ctx context.Context, s *session.Session, in *plan.Input) error {
	g.earlier, g.left = earlierRemoval{}, ""
	journal, err := s.Journal()
	if err != nil {
		return err
	}
	if err := journal.Newest(ctx, func(op pai.Operation) bool { return g.earlier.add(op, g.Verb(), g.name) }); err != nil {
		return err
	}
	if err := cluster.RefuseAlive(ctx, s.Config, s.Hosts, g.name, in.World.Unconfigured.AddressesOf(g.name)); err != nil {
		return err
	}
	control, err := s.ControlPlane()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(in.World.Machines, func(m plan.MachineState) bool { return m.Name == g.with })
	if at < 0 || in.World.Machines[at].Node != nil && in.World.Machines[at].Node.Ready {
		return nil // it runs for this cluster, or planning refuses it
	}
	in.Occupied, err = cluster.Occupied(ctx, control, s.Hosts, []string{g.with})
	return err
}

// Consequences are those of a lost machine, which a replacement always has.
func (g *replaceGoal) Consequences(_ context.Context, _ *session.Session, _ plan.Plan, _ plan.World) (consequences, error) {
	g.left = fmt.Sprintf("what ran on %s, and the programs, images, keys of the cluster, and data of PAI there", g.name)
	if g.earlier.accepted {
		return consequences{}, nil
	}
	return consequences{risks: map[string]string{guard.AcceptLose(g.name): fmt.Sprintf(
		"no control-plane machine reaches %s, so what runs there is unknown and stays there; jobs that the API has there start again on other machines, perhaps a second time", g.name)}}, nil
}
