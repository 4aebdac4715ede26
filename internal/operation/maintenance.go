package operation

import (
	"context"
	"maps"
	"slices"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// onMachine is a goal for one machine. It is the target in the journal, so that an
// unfinished operation on another machine is not continued.
type onMachine struct{ name string }

func (g onMachine) Machine() string           { return g.name }
func (g onMachine) Target() pai.UpgradeTarget { return pai.UpgradeTarget{Machine: g.name} }

// Equip lets the doers record the operation, and end only jobs whose end was accepted. A
// machine that the plan has as unreachable is so for the doers as well, also if a connection
// to it exists: it cannot be asked what runs there.
func (g onMachine) Equip(o *operation, d *cluster.Deps) {
	d.Hosts = maps.Clone(d.Hosts)
	for _, m := range o.preview.world.Machines {
		if m.Unreachable != "" {
			delete(d.Hosts, m.Name)
		}
	}
	d.EndsJobs = func(machine string) bool {
		lost := d.Hosts[machine] == nil && slices.Contains(o.options.Accept, guard.AcceptLose(machine))
		return lost || slices.Contains(o.options.Accept, guard.AcceptEvict(machine))
	}
	d.Operation = func() (pai.Operation, error) {
		entry := o.recorder.current()
		if entry == nil {
			return pai.Operation{}, pai.Errorf(pai.CodeFailed, "run the command again", "the operation has no journal entry")
		}
		return entry.Operation(), nil
	}
}

// machineOf is the machine of a goal for one machine; empty for another goal.
func machineOf(g Goal) string {
	if of, ok := g.(interface{ Machine() string }); ok {
		return of.Machine()
	}
	return ""
}

// Maintain puts a machine into maintenance: no new job starts there, its jobs end, one of several
// control-plane machines stops serving, and then other operations leave it alone.
func Maintain(machine string) Goal { return maintain{onMachine{machine}} }

type maintain struct{ onMachine }

func (g maintain) Verb() pai.Verb                        { return pai.VerbMaintain }
func (g maintain) Plan(in plan.Input) (plan.Plan, error) { return plan.Maintain(in.World, g.name) }

// staysCordoned is the line about a machine that an error of its maintenance leaves cordoned.
func staysCordoned(machine string) string {
	return "\n" + machine + " stays cordoned; to cancel, run: paictl machine return " + machine
}

// cordonLeft is staysCordoned if the steps so far leave a cordon; else it is empty.
func (g maintain) cordonLeft(p plan.Plan, result run.Result) string {
	for i, s := range p.Steps {
		if s.Kind == plan.KindCordon && (i >= len(result.Steps) || result.Steps[i].Outcome != pai.OutcomeSucceeded && result.Steps[i].Outcome != pai.OutcomeSkipped) {
			return ""
		}
	}
	return staysCordoned(g.name)
}

// Return brings a machine back from its maintenance: checked, at the versions of the
// cluster, and open for jobs.
func Return(machine string) Goal { return &returnGoal{onMachine: onMachine{machine}} }

type returnGoal struct {
	onMachine
	release pai.Release // of the Kubernetes that the cluster runs
}

func (g *returnGoal) Verb() pai.Verb                        { return pai.VerbReturn }
func (g *returnGoal) Plan(in plan.Input) (plan.Plan, error) { return plan.Return(in, g.name) }
func (g *returnGoal) Preflight() (check.Stage, pai.Release) { return check.Return, g.release }

// Bundle is the release of the Kubernetes that the cluster runs. A machine that is not in
// maintenance, or not yet, needs none, and is not checked.
func (g *returnGoal) Bundle(s *session.Session, w plan.World) pai.Release {
	g.release = ""
	for _, m := range w.Machines {
		manifest, err := s.ManifestOf(w.Current.Kubernetes)
		if m.Name == g.name && m.InMaintenance() && !m.CancelsMaintenance() && m.Unreachable == "" && err == nil {
			g.release = manifest.Metadata.Name
		}
	}
	return g.release
}

// Leads is the version that the cluster runs.
func (g *returnGoal) Leads(_ *session.Session, w plan.World) pai.KubernetesVersion {
	return w.Current.Kubernetes
}

// Gather adds what the machine runs for another cluster, as before a boot. Pods of the
// services start on the machine, so the bundle with their images must be there.
func (g *returnGoal) Gather(ctx context.Context, s *session.Session, in *plan.Input) (err error) {
	if services := in.World.ServicesRelease(); g.release != "" && services != "" {
		if images := in.BundleOfServices(services, ""); images.Release != "" && images.Digest == "" {
			if _, err := s.Bundle(images.Release); err != nil {
				return err
			}
		}
	}
	if control := s.Hosts[s.Seed().Hostname]; control != nil {
		in.Occupied, err = cluster.Occupied(ctx, control, s.Hosts, []string{g.name})
	}
	return err
}
