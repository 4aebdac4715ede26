package operation

import (
	"context"
	"slices"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

type repeatsSteps struct{}

func (repeatsSteps) RepeatsSteps() {}

// Bootup makes the machines run the Kubernetes version of the configuration.
func Bootup(s *session.Session) Goal {
	return bootup{pair: s.Config.Pair(), bundle: s.Config.Release(), release: releaseOf(s)}
}

type bootup struct {
	repeatsSteps
	pair    pai.Pair
	bundle  pai.Release // of the configuration
	release pai.Release // with this Kubernetes
}

func (g bootup) Verb() pai.Verb                                  { return pai.VerbBoot }
func (g bootup) Plan(in plan.Input) (plan.Plan, error)           { return plan.Boot(in, g.pair) }
func (g bootup) Bundle(*session.Session, plan.World) pai.Release { return g.bundle }
func (g bootup) Preflight() (check.Stage, pai.Release)           { return check.Boot, g.release }
func (g bootup) Applies(plan.Plan) []revision.Part               { return []revision.Part{revision.Kubernetes} }

// Gather adds the machines that run something for another cluster. Machines whose
// nodes are Ready run for this one.
func (g bootup) Gather(ctx context.Context, s *session.Session, in *plan.Input) (err error) {
	control := s.Hosts[s.Seed().Hostname]
	if control == nil {
		return nil // the checks report that it is unreachable
	}
	var names []string
	for _, m := range in.World.Machines {
		if m.Maintenance == nil && (m.Node == nil || !m.Node.Ready) {
			names = append(names, m.Name)
		}
	}
	in.Occupied, err = cluster.Occupied(ctx, control, s.Hosts, names)
	return err
}

// releaseOf names the release that carries the Kubernetes version of the
// configuration. If there is none it returns that version, which planning refuses.
func releaseOf(s *session.Session) pai.Release {
	m, err := s.ManifestOf(s.Config.Pair().Kubernetes)
	if err != nil {
		return pai.Release(s.Config.Pair().Kubernetes)
	}
	return m.Metadata.Name
}

// Clean removes Kubernetes from the machines, with its data if wipe is set.
func Clean(wipe bool) Goal { return clean{wipe} }

type clean struct{ wipe bool }

func (g clean) Verb() pai.Verb                        { return pai.VerbClean }
func (g clean) Plan(in plan.Input) (plan.Plan, error) { return plan.CleanPlan(in.World, g.wipe) }

// StartServices starts the chosen services at the release of the configuration.
func StartServices(s *session.Session, which plan.Choice) Goal {
	return startServices{to: s.Config.Release(), which: which}
}

type startServices struct {
	repeatsSteps
	to    pai.Release
	which plan.Choice
}

func (g startServices) Verb() pai.Verb                                  { return pai.VerbStartServices }
func (g startServices) Plan(in plan.Input) (plan.Plan, error)           { return plan.Start(in, g.to, g.which) }
func (g startServices) Bundle(*session.Session, plan.World) pai.Release { return g.to }
func (g startServices) Preflight() (check.Stage, pai.Release)           { return check.Services, g.to }
func (g startServices) Applies(plan.Plan) []revision.Part {
	return servicesUnless(slices.Concat(g.which.Names, g.which.Skip))
}

// servicesUnless is the part of the services if no service is named: a change
// of some services brings the services as a whole to no revision.
func servicesUnless(names []string) []revision.Part {
	if len(names) > 0 {
		return nil
	}
	return []revision.Part{revision.Services}
}

// StopServices stops the chosen services.
func StopServices(which plan.Choice) Goal { return stopServices{which: which} }

// onRunningRelease is a goal for the services at the release that they run.
type onRunningRelease struct{}

func (onRunningRelease) Bundle(s *session.Session, w plan.World) pai.Release {
	return plan.WithServices(s.Releases, w.ServicesRelease())
}

type stopServices struct {
	onRunningRelease
	which plan.Choice
}

func (g stopServices) Verb() pai.Verb                        { return pai.VerbStopServices }
func (g stopServices) Plan(in plan.Input) (plan.Plan, error) { return plan.StopPlan(in, g.which) }

// RefreshServices applies the configuration to the named services, or to all
// that run if none is named, at the release that they run.
func RefreshServices(s *session.Session, names []string) Goal {
	return refreshServices{names: names, configured: s.Config.Pair().Services}
}

type refreshServices struct {
	repeatsSteps
	onRunningRelease
	names      []string
	configured pai.ServicesVersion // of the configuration
}

func (g refreshServices) Verb() pai.Verb { return pai.VerbRefresh }
func (g refreshServices) Plan(in plan.Input) (plan.Plan, error) {
	return plan.Refresh(in, g.names, g.configured)
}

// Applies leaves out services that stay at an older release than the
// configuration names.
func (g refreshServices) Applies(p plan.Plan) []revision.Part {
	if p.To.Services.Less(g.configured) {
		return nil
	}
	return servicesUnless(g.names)
}

// DeleteService deletes one service, with its state if wipe is set.
func DeleteService(name string, wipe bool) Goal { return deleteService{name: name, wipe: wipe} }

type deleteService struct {
	repeatsSteps
	onRunningRelease
	name string
	wipe bool
}

func (g deleteService) Verb() pai.Verb { return pai.VerbDeleteService }
func (g deleteService) Plan(in plan.Input) (plan.Plan, error) {
	return plan.DeletePlan(in, g.name, g.wipe)
}
