package operation

import (
	"context"
	"fmt"
	"slices"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

// Goal is what an operation is after. Its Plan is a pure function of the world.
type Goal struct {
	op   *operation
	Verb pai.Verb
	Plan func(w plan.World) (plan.Plan, error)
	// stage chooses the checks that stand in front of it, none when it is zero;
	// release is the one that they check for.
	stage   check.Stage
	release pai.Release
	// begin runs once the plan is agreed and the lock is held, before the first step.
	begin func() error
	// look is set where the plan repeats steps that may well be done, because
	// the world as data does not show it: each is looked at before the plan is shown.
	look bool
	// target is what an upgrade was asked for.
	target pai.Target
	// applies lists the parts that are at the configuration's revision once a
	// plan is done; nil where the configuration is not applied at all.
	applies func(plan.Plan) []revision.Part
	// record says whether an operation is to be recorded although its plan has no
	// steps; nil where it is not.
	record func(ctx context.Context) (bool, error)
	// consequences finds what a plan means beyond its steps, when it is shown and
	// again when it matters; allow is asked before such a plan begins.
	consequences func(ctx context.Context, p plan.Plan, w plan.World) (consequences, error)
}

// consequences is what a plan would take away.
type consequences struct {
	notes   []string
	touched map[plan.StepID][]pai.JobRef
	// accept are the risks that have to be taken for it, by name, with why.
	accept map[string]string
}

// Bootup makes the machines run the Kubernetes that the configuration names.
func Bootup(on *session.Session) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbBoot, look: true, stage: check.Boot, release: s.releaseOf(s.Config.Pair().Kubernetes), applies: appliesAll(revision.Kubernetes), Plan: func(w plan.World) (plan.Plan, error) {
		pair := s.Config.Pair()
		in, err := s.input(w, s.Config.Release())
		if err != nil {
			return plan.Plan{}, err
		}
		return plan.Boot(in, pair)
	}}
}

// Clean takes Kubernetes off the machines, with its data when wipe is set.
func Clean(on *session.Session, wipe bool) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbClean, Plan: func(w plan.World) (plan.Plan, error) {
		return plan.CleanPlan(w, wipe)
	}}
}

// StartServices starts the chosen services at the release that the
// configuration names.
func StartServices(on *session.Session, which plan.Choice) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbStartServices, look: true, stage: check.Services, release: s.Config.Release(),
		applies: appliesAllUnless(slices.Concat(which.Names, which.Skip), revision.Services), Plan: func(w plan.World) (plan.Plan, error) {
			to := s.Config.Release()
			in, err := s.input(w, to)
			if err != nil {
				return plan.Plan{}, err
			}
			return plan.Start(in, to, which)
		}}
}

// StopServices stops the chosen services.
func StopServices(on *session.Session, which plan.Choice) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbStopServices, Plan: func(w plan.World) (plan.Plan, error) {
		in, err := s.input(w, s.ReleaseWith(w.ServicesRelease()))
		if err != nil {
			return plan.Plan{}, err
		}
		return plan.StopPlan(in, which)
	}}
}

// RefreshServices brings services, all that run when none is named, in line
// with the configuration, at the release that they are of.
func RefreshServices(on *session.Session, names []string) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbRefresh, look: true, applies: s.refreshes(names), Plan: func(w plan.World) (plan.Plan, error) {
		in, err := s.input(w, s.ReleaseWith(w.ServicesRelease()))
		if err != nil {
			return plan.Plan{}, err
		}
		return plan.Refresh(in, names, s.Config.Pair().Services)
	}}
}

// refreshes: services that stay at an older release than the configuration
// names are not as its revision says.
func (s *operation) refreshes(names []string) func(plan.Plan) []revision.Part {
	return func(p plan.Plan) []revision.Part {
		if p.To.Services.Less(s.Config.Pair().Services) {
			return nil
		}
		return appliesAllUnless(names, revision.Services)(p)
	}
}

// DeleteService takes one service away, with its state when wipe is set.
func DeleteService(on *session.Session, name string, wipe bool) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbDeleteService, look: true, Plan: func(w plan.World) (plan.Plan, error) {
		in, err := s.input(w, s.ReleaseWith(w.ServicesRelease()))
		if err != nil {
			return plan.Plan{}, err
		}
		return plan.DeletePlan(in, name, wipe)
	}}
}

// Upgrade moves Kubernetes and the services to a target. The configuration
// names what is being moved to from the moment the operation begins, so that
// every later command goes on toward it.
func Upgrade(on *session.Session, target plan.Target) Goal {
	s := newOperation(on)
	var to pai.Pair
	return Goal{
		op:     s,
		Verb:   pai.VerbUpgrade,
		target: targetOf(target),
		stage:  check.Upgrade, release: target.Release,
		Plan: func(w plan.World) (plan.Plan, error) {
			in, err := s.input(w, target.Release)
			if err != nil {
				return plan.Plan{}, err
			}
			p, err := plan.Upgrade(in, target)
			to = p.To
			return p, err
		},
		begin:   func() error { return s.config.Migrate(to, target.Release) },
		applies: upgradedParts,
	}
}

// StageUpgrade brings the programs and images of an upgrade to the machines
// ahead of it.
func StageUpgrade(on *session.Session, target plan.Target) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbStage, target: targetOf(target), stage: check.Staging, release: target.Release, Plan: func(w plan.World) (plan.Plan, error) {
		in, err := s.input(w, target.Release)
		if err != nil {
			return plan.Plan{}, err
		}
		return plan.StagePlan(in, target)
	}}
}

// input is what goals are planned from. The bundle of the release that is
// asked for must be there; those of other releases are used where they are.
func (s *operation) input(w plan.World, wanted pai.Release) (plan.Input, error) {
	in := plan.Input{World: w, Releases: s.Releases, Services: map[pai.ServicesVersion][]plan.Service{}, Digests: map[pai.Release]string{}}
	for _, m := range s.Releases {
		name := m.Metadata.Name
		b, err := s.Bundle(name)
		if err != nil {
			if name.Compare(wanted) == 0 {
				return in, err
			}
			continue
		}
		in.Digests[name] = b.Digest()
		if in.Services[m.Services.Version], err = catalog(b); err != nil {
			return in, err
		}
	}
	return in, nil
}

// catalog is the services of a bundle, as the planner needs them.
func catalog(b *release.Bundle) ([]plan.Service, error) {
	services, err := service.Catalog(b.Services())
	if err != nil {
		return nil, fmt.Errorf("read the services of release %s: %w", b.Manifest().Metadata.Name, err)
	}
	var list []plan.Service
	for _, sv := range services {
		list = append(list, sv.Planned())
	}
	return list, nil
}

// impacts is what running jobs notice while a service is stopped, by service.
func (s *operation) impacts() map[string]pai.JobImpact {
	found := map[string]pai.JobImpact{}
	for _, m := range s.Releases {
		b, err := s.Bundle(m.Metadata.Name)
		if err != nil {
			continue // a release whose bundle is not here has no step in any plan
		}
		services, err := catalog(b)
		if err != nil {
			continue // the guard takes a service it does not know for one on the jobs' data path
		}
		for _, sv := range services {
			found[sv.Name] = sv.Impact
		}
	}
	return found
}

// ServiceRow is one service as status shows it.
type ServiceRow struct {
	Name      string              `json:"name"`
	Release   pai.ServicesVersion `json:"release"`
	JobImpact pai.JobImpact       `json:"jobImpact"`
	Installed bool                `json:"installed"`
	Ready     bool                `json:"ready"`
	Message   string              `json:"message,omitempty"`
}

// ServiceRows lists the services of the configuration's release, or the named
// ones, with what was observed of each.
func ServiceRows(on *session.Session, w plan.World, names []string) ([]ServiceRow, error) {
	s := newOperation(on)
	b, err := s.Bundle(s.Config.Release())
	if err != nil {
		return nil, err
	}
	services, err := catalog(b)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	var rows []ServiceRow
	for _, sv := range services {
		if len(names) > 0 && !wanted[sv.Name] {
			continue
		}
		delete(wanted, sv.Name)
		in, ok := w.Services[sv.Name]
		rows = append(rows, ServiceRow{Name: sv.Name, Release: in.Release, JobImpact: sv.Impact, Installed: ok, Ready: ok && in.Ready, Message: in.Message})
	}
	for n := range wanted {
		return nil, pai.Errorf(pai.CodeUsage, "see: paictl service status", "there is no service %q", n)
	}
	return rows, nil
}
