package operation

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"pai.dev/pai/internal/observe"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

// Observe reads the state of the cluster.
func Observe(ctx context.Context, s *session.Session) (plan.World, error) {
	records, err := s.Records()
	if err != nil {
		records = nil // the result has the machine as unreachable
	}
	w, err := observe.World(ctx, observe.Source{Config: s.Config, Records: records, Releases: s.Releases, Hosts: s.Hosts, Seed: s.Seed().Hostname, Kube: s.Kube, Operator: operatorOf(s)})
	if err != nil {
		return w, err
	}
	if w.APIReachable {
		w.Unmigrated = unmigrated(ctx, s)
	}
	if !slices.ContainsFunc(w.Machines, func(m plan.MachineState) bool { return m.Node != nil && m.Node.CordonedByPAI }) {
		return w, nil
	}
	journal, err := s.Journal()
	if err != nil {
		return w, err
	}
	return w, dropUnrecordedCordons(ctx, journal, &w, s.Progressf)
}

// operatorOf is the public key of the operator; nil if this host has no key yet.
func operatorOf(s *session.Session) ed25519.PublicKey {
	key, err := release.LoadKey(release.KeyFile(s.Dirs.State))
	if err != nil {
		return nil
	}
	return key.Public().(ed25519.PublicKey)
}

// dropUnrecordedCordons clears CordonedByPAI for machines without a cordon
// record in the journal. PAI uncordons only what it cordoned.
func dropUnrecordedCordons(ctx context.Context, journal *run.Journal, w *plan.World, noticef func(string, ...any)) error {
	for _, m := range w.Machines {
		if m.Node == nil || !m.Node.CordonedByPAI {
			continue
		}
		op, err := journal.Get(ctx, m.Node.CordonedBy)
		if err != nil && pai.CodeOf(err) != pai.CodeNotFound {
			return err
		}
		if err != nil || !op.CordonedBy(m.Name) {
			noticef("machine %s stays cordoned: it is marked as cordoned by operation %s, which has no record of it", m.Name, m.Node.CordonedBy)
			m.Node.CordonedByPAI, m.Node.CordonedBy = false, ""
		}
	}
	return nil
}

// gather collects what a goal is planned from. The bundle that the goal needs
// must be on this host; those of other releases are used if they are.
func gather(ctx context.Context, s *session.Session, goal Goal, w plan.World) (plan.Input, error) {
	in := plan.Input{World: w, Releases: s.Releases, Services: map[pai.ServicesVersion][]plan.ServiceSpec{}, Digests: map[pai.Release]string{}}
	if err := requireControlPlane(s, w); err != nil {
		return in, err
	}
	if g, ok := goal.(bundled); ok && g.Bundle(s, w) != "" {
		if err := requireBundle(s, g.Bundle(s, w)); err != nil {
			return in, err
		}
	}
	for _, m := range s.Releases {
		name := m.Metadata.Name
		b := s.OptionalBundle(name)
		if b == nil {
			continue
		}
		in.Digests[name] = b.Digest()
		var err error
		if in.Services[m.Services.Version], err = catalog(b); err != nil {
			return in, err
		}
	}
	if err := compare(ctx, s, goal, &in); err != nil {
		return in, err
	}
	if g, ok := goal.(gatherer); ok {
		return in, g.Gather(ctx, s, &in)
	}
	return in, nil
}

// requireControlPlane returns an error if the control-plane machine was not observed. It has
// the record of what the cluster runs, and without it a cluster looks like none.
func requireControlPlane(s *session.Session, w plan.World) error {
	if _, err := s.ControlPlane(); err != nil {
		return err
	}
	if why := w.UnknownControlPlane(); why != "" {
		return pai.Errorf(pai.CodeFailed, "fix what the message names and run the command again; to list all problems, run: paictl check",
			"control-plane machine %s could not be observed: %s", s.Seed().Hostname, why)
	}
	return nil
}

// requireBundle opens the bundle of a known release; planning refuses an
// unknown one.
func requireBundle(s *session.Session, name pai.Release) error {
	for _, m := range s.Releases {
		if known := m.Metadata.Name; known.Compare(name) == 0 {
			_, err := s.Bundle(known)
			return err
		}
	}
	return nil
}

// catalog is the services of a bundle, as the planner needs them.
func catalog(b *release.Bundle) ([]plan.ServiceSpec, error) {
	services, err := service.Catalog(b.Services())
	if err != nil {
		return nil, fmt.Errorf("read services of release %s: %w", b.Manifest().Metadata.Name, err)
	}
	var list []plan.ServiceSpec
	for _, sv := range services {
		list = append(list, sv.Planned())
	}
	return list, nil
}
