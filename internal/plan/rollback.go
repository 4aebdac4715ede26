package plan

import (
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Rollback plans the way back to a pair: first the services, which run on any
// newer Kubernetes, then Kubernetes. A target's "only"s leave the other part
// where it is; its release is not used. Nothing goes back over the support
// plan's rules: the pair that is left must be a compatible one.
//
// Kubernetes goes back without loss while nothing that the old programs do not
// know can have been stored: within an upstream minor, or before the commit of
// a hop across minors. After that etcd is restored from the hop's snapshot, in
// which the services are as they were, so they come second.
func Rollback(in Input, to pai.Pair, target Target) (Plan, error) {
	both := target.KubernetesOnly == target.ServicesOnly
	w, pins := in.World, PinsOf(in.Releases)
	newest := newestKubernetes(w)
	p := Plan{Verb: pai.VerbRollback, From: pai.Pair{Services: w.newestServices(), Kubernetes: newest}, Hops: []Hop{}}
	p.To = p.From
	if both || target.ServicesOnly {
		switch {
		case w.APIReachable && to.Services != "":
			p.To.Services = to.Services
		case !w.APIReachable:
			p.Notes = append(p.Notes, "the API does not answer ("+w.APIError+"), so only Kubernetes goes back; run the command again for the services")
		}
	}
	if (both || target.KubernetesOnly) && to.Kubernetes.Less(newest) {
		p.To.Kubernetes = to.Kubernetes
	}
	if err := Compatible(in.Releases, p.To); err != nil {
		return Plan{}, pai.Errorf(pai.CodeRefused, "go back with both parts: paictl upgrade rollback", "the way back to %s is not one: %w", p.To, err)
	}
	b := &rollback{in: in, pins: pins, world: w, servicesToo: p.To.Services == to.Services && (both || target.ServicesOnly)}
	parts := []func(*Plan) error{b.servicesHop, b.kubernetesHop}
	if p.To.Kubernetes.Less(newest) && (&kubernetes{world: w, to: p.To.Kubernetes, pins: pins, controlPlanes: controlPlanes(w)}).lossy(newest) {
		if p.From.Services != to.Services && p.To.Services != to.Services && w.APIReachable {
			return Plan{}, pai.Errorf(pai.CodeRefused, "go back with both parts: paictl upgrade rollback",
				"Kubernetes %s is gone back to by restoring etcd, and that takes the services along to %s", to.Kubernetes, to.Services)
		}
		slices.Reverse(parts) // what is restored holds the services as they were
	}
	for _, part := range parts {
		done := len(b.steps)
		if err := part(&p); err != nil {
			return Plan{}, err
		}
		b.world = b.world.After(b.steps[done:], in.Digests)
	}
	p.Steps = b.steps
	if len(p.Steps) == 0 && !w.APIReachable {
		return Plan{}, w.unknown()
	}
	return p, p.Validate()
}

func controlPlanes(w World) []MachineState {
	return slices.DeleteFunc(slices.Clone(w.Machines), func(m MachineState) bool { return !m.ControlPlane })
}

// servicesHop adds the way back of the services, where they are to be as the
// plan says.
func (b *rollback) servicesHop(p *Plan) error {
	if p.To.Services == "" || !b.world.APIReachable || !b.servicesToo {
		return nil
	}
	if err := b.services(p.To.Services, p.From.Services); err != nil {
		return err
	}
	if p.To.Services.Less(p.From.Services) {
		b.barrier = last(b.steps)
		p.Hops = append(p.Hops, servicesHop(p.From.Services, p.To.Services))
	}
	return nil
}

// kubernetesHop adds the way back of Kubernetes.
func (b *rollback) kubernetesHop(p *Plan) error {
	if !p.To.Kubernetes.Less(p.From.Kubernetes) {
		return nil
	}
	if err := b.kubernetes(p.To.Kubernetes, p.From.Kubernetes, p.To.Services); err != nil {
		return err
	}
	b.barrier = []StepID{StepID("kubernetes/" + string(p.To.Kubernetes) + "/cluster/record")}
	p.Hops = append(p.Hops, kubernetesHop(p.From.Kubernetes, p.To.Kubernetes))
	return nil
}

// back collects the steps of a way back.
type rollback struct {
	in      Input
	pins    Pins
	world   World
	steps   []Step
	barrier []StepID // what the next part waits for
	// servicesToo is set where the services are to be as they were.
	servicesToo bool
}

// services brings the services to an older release: those that it had, in the
// order of their prerequisites, then what it did not have goes.
func (b *rollback) services(to, from pai.ServicesVersion) error {
	former, known := b.in.Services[to]
	if !known {
		return pai.Errorf(pai.CodeRefused, "put the bundle of release "+string(to)+" back: paictl release build "+string(to),
			"the services of release %s are neither recorded in the cluster nor in a bundle here", to)
	}
	ordered, err := Order(former)
	if err != nil {
		return err
	}
	newer := b.in.Services[from]
	d := stepGraph{phase: "services/" + string(to)}
	w, prefix := b.world, d.phase+"/"
	bundle := b.in.bundleOfServices(to, "")
	var barrier []StepID
	for _, m := range w.Machines {
		digest := bundle.Digest
		id := d.add(digest != "" && (m.Unreachable != "" || !slices.Contains(m.Images, digest)), Step{
			ID: StepID(prefix + "machine/" + m.Name + "/images"), Kind: KindImages, Target: m.Name, To: pai.AnyVersion(bundle.Release), Risk: pai.RiskNone})
		if m.Unreachable == "" {
			barrier = append(barrier, id)
		}
	}
	undone, err := b.undo(&d, prefix, to, barrier)
	if err != nil {
		return err
	}
	work := false
	var started []StepID
	for _, s := range ordered {
		was, installed := w.Services[s.Name]
		inBoth := slices.ContainsFunc(newer, func(n ServiceSpec) bool { return n.Name == s.Name })
		needed := was.Release != to || !was.Ready
		if !installed && inBoth {
			needed = false // its operator stopped it
		}
		work = work || needed
		after := slices.Concat(barrier, undone)
		for _, p := range s.Prerequisites {
			after = append(after, StepID(prefix+p))
		}
		started = append(started, d.add(needed, Step{ID: StepID(prefix + s.Name), Kind: KindService, Target: s.Name,
			From: pai.AnyVersion(was.Release), To: pai.AnyVersion(to), Risk: riskOf(s.Impact, w, s.Name)}, after...))
	}
	leaving := b.leaving(ordered, newer)
	stopSteps(&d, w, prefix+"stop/", leaving, started)
	record := d.add(w.RecordedServices != to, Step{ID: StepID(prefix + "record"), Kind: KindServices,
		From: pai.AnyVersion(w.RecordedServices), To: pai.AnyVersion(to), Risk: pai.RiskNone}, last(d.steps)...)
	if !work && len(leaving) == 0 && !d.needed[record] {
		return nil
	}
	b.steps = append(b.steps, waitFor(d.reduce(), b.barrier)...)
	return nil
}

// undo adds the steps that bring what PAI stores back into the form of an older
// release, while the newer services, which read both, still run.
func (b *rollback) undo(d *stepGraph, prefix string, to pai.ServicesVersion, barrier []StepID) ([]StepID, error) {
	var ids []StepID
	for _, r := range slices.Backward(b.in.Releases) {
		for _, m := range r.Migrations {
			if !to.Less(r.Services.Version) || slices.Contains(b.world.Unmigrated, m.Name) {
				continue
			}
			if !m.Reversible {
				return nil, pai.Errorf(pai.CodeRefused, "go forward with: paictl upgrade apply",
					"release %s changed what PAI stores (%s) in a way that cannot be undone", r.Metadata.Name, m.Name)
			}
			ids = append(ids, d.add(true, Step{ID: StepID(prefix + "migrate/" + m.Name), Kind: KindMigrate, Target: m.Name,
				From: pai.AnyVersion(r.Services.Version), To: pai.AnyVersion(to), Risk: pai.RiskNone}, append(slices.Clone(barrier), ids...)...))
		}
	}
	return ids, nil
}

// leaving are the services that are there and that the former release did not
// have, in the order of their prerequisites where that is known.
func (b *rollback) leaving(former, newer []ServiceSpec) []ServiceSpec {
	var gone []ServiceSpec
	for _, name := range slices.Sorted(maps.Keys(b.world.Services)) {
		is := func(s ServiceSpec) bool { return s.Name == name }
		if slices.ContainsFunc(former, is) {
			continue
		}
		s := ServiceSpec{Name: name, Impact: pai.ImpactDataPath} // nothing says that jobs do without it
		if i := slices.IndexFunc(newer, is); i >= 0 {
			s = newer[i]
		}
		gone = append(gone, s)
	}
	names := func(s ServiceSpec) bool {
		return slices.ContainsFunc(gone, func(g ServiceSpec) bool { return g.Name == s.Name })
	}
	ordered, err := Order(newer)
	if err != nil {
		return gone
	}
	inOrder := slices.DeleteFunc(ordered, func(s ServiceSpec) bool { return !names(s) })
	for _, s := range gone {
		if !slices.ContainsFunc(inOrder, func(o ServiceSpec) bool { return o.Name == s.Name }) {
			inOrder = append(inOrder, s)
		}
	}
	return inOrder
}

// newestServices is the newest release that a service was applied from.
func (w World) newestServices() pai.ServicesVersion {
	var newest pai.ServicesVersion
	for _, s := range w.Services {
		if newest.Less(s.Release) {
			newest = s.Release
		}
	}
	return newest
}

// kubernetesRoles are the roles that come from the programs named kubernetes.
var kubernetesRoles = []Role{RoleAPIServerA, RoleAPIServerB, RoleControllerManager, RoleScheduler, RoleKubelet, RoleKubeProxy}

// newestKubernetes is the newest version that any part of Kubernetes has, which
// is newer than the recorded one while a hop is under way.
func newestKubernetes(w World) pai.KubernetesVersion {
	newest := w.Current.Kubernetes
	for _, m := range w.Machines {
		for r, s := range m.Roles {
			for _, v := range []pai.KubernetesVersion{s.Link, s.Running} {
				if (slices.Contains(kubernetesRoles, r) || r == RoleEtcdA || r == RoleEtcdB) && newest.Less(v) {
					newest = v
				}
			}
		}
	}
	return newest
}

// sameMinor reports whether a program's minor is the same in two versions:
// "v3.6.8" and "v3.6.16".
func (p Pins) sameMinor(program string, a, b pai.KubernetesVersion) bool {
	minor := func(v string) string { return v[:max(0, strings.LastIndexByte(v, '.'))] }
	ma, mb := minor(p[a][program]), minor(p[b][program])
	return ma != "" && ma == mb
}

// BetweenVersions reports whether a hop of Kubernetes is under way that can be
// taken back without loss: something is newer than what is recorded, and no
// API server of the newer version has run as itself.
func BetweenVersions(w World) bool {
	newest := newestKubernetes(w)
	return w.Current.Kubernetes != "" && w.Current.Kubernetes.Less(newest) &&
		!slices.ContainsFunc(w.Machines, func(m MachineState) bool { return m.ControlPlane && m.committed(newest) })
}
