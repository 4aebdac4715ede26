package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
)

// Rollback plans the rollback to a pair: first the services, which run on any
// newer Kubernetes, then Kubernetes. With KubernetesOnly or ServicesOnly of the
// target, the other part stays; its release is not used. The resulting pair must
// be compatible under the support plan.
//
// Kubernetes is rolled back without loss while the old programs know everything
// that can be stored: within an upstream minor, or before the commit of a hop
// across minors. After that, etcd is restored from the snapshot of the hop. The
// snapshot holds the services as they were, so they come second.
func Rollback(in Input, to pai.Pair, target Target) (Plan, error) {
	return in.planActive(func(in Input) (Plan, error) {
		in, unbooted := in.withoutUnbooted()
		p, err := planRollback(in, to, target)
		p.Notes = append(unbooted, p.Notes...)
		return p, err
	})
}

// withoutUnbooted is the input without the machines that are not yet part of the cluster,
// and a note that names each: a rollback has no step that joins one.
func (in Input) withoutUnbooted() (active Input, notes []string) {
	in.World.Machines = slices.DeleteFunc(slices.Clone(in.World.Machines), func(m MachineState) bool {
		unbooted := !m.ControlPlane && m.Unreachable == "" && !m.Joined && m.Node == nil && m.Roles[RoleKubelet].version() == ""
		if unbooted {
			notes = append(notes, fmt.Sprintf("%s is not part of the cluster yet and is left as it is; to boot it after the rollback, run: paictl cluster k8s-bootup", m.Name))
		}
		return unbooted
	})
	return in, notes
}

func planRollback(in Input, to pai.Pair, target Target) (Plan, error) {
	both := target.KubernetesOnly == target.ServicesOnly
	w, pins := in.World, PinsOf(in.Releases)
	newest := newestKubernetes(w)
	p := Plan{Verb: pai.VerbRollback, From: pai.Pair{Services: w.newestServices(), Kubernetes: newest.Label()}, Hops: []Hop{}}
	p.To = p.From
	if both || target.ServicesOnly {
		switch {
		case w.APIReachable && to.Services != "":
			p.To.Services = to.Services
		case !w.APIReachable:
			p.Notes = append(p.Notes, w.APIOutage()+", so only Kubernetes is rolled back; run the command again for the services")
		}
	}
	if (both || target.KubernetesOnly) && to.Kubernetes.Less(newest) {
		p.To.Kubernetes = to.Kubernetes
	}
	if err := Compatible(in.Releases, p.To); err != nil {
		return Plan{}, pai.Errorf(pai.CodeRefused, "roll back both parts; run: paictl upgrade rollback", "cannot roll back to %s: %w", p.To, err)
	}
	b := &rollback{in: in, pins: pins, world: w, servicesToo: p.To.Services == to.Services && (both || target.ServicesOnly)}
	parts := []func(*Plan) error{b.servicesHop, b.kubernetesHop}
	if p.To.Kubernetes.Less(newest) && (&kubernetes{world: w, to: p.To.Kubernetes, pins: pins, controlPlanes: controlPlanes(w)}).lossy(newest) {
		if p.From.Services != to.Services && p.To.Services != to.Services && w.APIReachable {
			return Plan{}, pai.Errorf(pai.CodeRefused, "roll back both parts; run: paictl upgrade rollback",
				"a rollback to Kubernetes %s restores etcd, and so also rolls back the services to %s", to.Kubernetes, to.Services)
		}
		slices.Reverse(parts) // the snapshot holds the services as they were
	}
	for _, part := range parts {
		done := len(b.steps)
		if err := part(&p); err != nil {
			return Plan{}, err
		}
		b.world = in.After(b.world, b.steps[done:])
	}
	p.Steps = b.steps
	if len(p.Steps) == 0 && !w.APIReachable {
		return Plan{}, w.unknown()
	}
	b.noteNewerKubelets(&p)
	return p, p.Validate()
}

// servicesHop adds the rollback of the services.
func (b *rollback) servicesHop(p *Plan) error {
	if p.To.Services == "" || !b.world.APIReachable || !b.servicesToo {
		return nil
	}
	// Stopped services are of the release that ran last.
	if err := b.services(p.To.Services, cmp.Or(p.From.Services, b.world.RecordedServices)); err != nil {
		return err
	}
	if p.To.Services.Less(p.From.Services) {
		b.barrier = last(b.steps)
		p.Hops = append(p.Hops, servicesHop(p.From.Services, p.To.Services))
	}
	return nil
}

// kubernetesHop adds the rollback of Kubernetes.
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

// rollback collects the steps of a rollback.
type rollback struct {
	in      Input
	pins    Pins
	world   World
	steps   []Step
	barrier []StepID // what the next part waits for
	// servicesToo is set if the services are rolled back, too.
	servicesToo bool
}

// services rolls the services back to an older release: it applies the services
// of that release, prerequisites first, and then stops the others.
func (b *rollback) services(to, from pai.ServicesVersion) error {
	previous, known := b.in.Services[to]
	if !known {
		return pai.Errorf(pai.CodeRefused, "build the bundle of release "+string(to)+"; run: paictl release build "+string(to),
			"the services of release %s are neither recorded in the cluster nor in a bundle on this host", to)
	}
	ordered, err := Order(previous)
	if err != nil {
		return err
	}
	newer := b.in.Services[from]
	d := stepGraph{phase: "services/" + string(to)}
	w, prefix := b.world, d.phase+"/"
	bundle := b.in.BundleOfServices(to, "")
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
		if !installed && (inBoth || len(w.Services) == 0) {
			needed = false // the operator stopped it
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

// undo adds the steps that convert what PAI stores to the form of an older
// release, while the newer services, which read both forms, still run.
func (b *rollback) undo(d *stepGraph, prefix string, to pai.ServicesVersion, barrier []StepID) ([]StepID, error) {
	var ids []StepID
	for _, r := range slices.Backward(b.in.Releases) {
		for _, m := range r.Migrations {
			if !to.Less(r.Services.Version) || slices.Contains(b.world.Unmigrated, m.Name) {
				continue
			}
			if !m.Reversible {
				return nil, pai.Errorf(pai.CodeRefused, "continue to the newer version; run: paictl upgrade apply",
					"migration %[2]s of release %[1]s cannot be undone", r.Metadata.Name, m.Name)
			}
			ids = append(ids, d.add(true, Step{ID: StepID(prefix + "migrate/" + m.Name), Kind: KindMigrate, Target: m.Name,
				From: pai.AnyVersion(r.Services.Version), To: pai.AnyVersion(to), Risk: pai.RiskNone}, append(slices.Clone(barrier), ids...)...))
		}
	}
	return ids, nil
}

// noteNewerKubelets adds a note about each kubelet that stays newer than the API server,
// because its machine is not in the configuration.
func (b *rollback) noteNewerKubelets(p *Plan) {
	upstream := b.pins[p.To.Kubernetes][programKubernetes]
	for _, n := range b.world.Unconfigured.Nodes {
		if p.To.Kubernetes.Less(p.From.Kubernetes) && kubeletIsNewer(upstream, n.Kubelet) {
			p.Notes = append(p.Notes, fmt.Sprintf("kubelet %s of %s stays, because the layout has no such machine; API server %s does not support a newer kubelet", n.Kubelet, n.Name, upstream))
		}
	}
}

// leaving returns the installed services that the older release does not have,
// prerequisites first if they are known.
func (b *rollback) leaving(previous, newer []ServiceSpec) []ServiceSpec {
	var gone []ServiceSpec
	for _, name := range slices.Sorted(maps.Keys(b.world.Services)) {
		is := func(s ServiceSpec) bool { return s.Name == name }
		if slices.ContainsFunc(previous, is) {
			continue
		}
		s := ServiceSpec{Name: name, Impact: pai.ImpactDataPath} // it might be in the data path of jobs
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

// VersionedRoles are the roles that are newer than the recorded version of Kubernetes
// during a hop, and only then.
func VersionedRoles() []Role { return append(slices.Clone(kubernetesRoles), RoleEtcdA, RoleEtcdB) }

// newestKubernetes is the newest version that any part of Kubernetes has, which
// is newer than the recorded one during a hop.
func newestKubernetes(w World) pai.KubernetesVersion {
	newest := w.Current.Kubernetes
	for _, m := range w.Machines {
		for r, s := range m.Roles {
			for _, v := range []pai.KubernetesVersion{s.Link, s.Running} {
				if slices.Contains(VersionedRoles(), r) && newest.Less(v) {
					newest = v
				}
			}
		}
	}
	return newest
}

// BetweenVersions reports whether a Kubernetes hop is in progress that can be
// rolled back without loss: a role is newer than the recorded version, and no
// API server of the newer version has run without emulation.
func BetweenVersions(w World) bool {
	w = w.Active("")
	newest := newestKubernetes(w)
	return w.Current.Kubernetes != "" && w.Current.Kubernetes.Less(newest) &&
		!slices.ContainsFunc(w.Machines, func(m MachineState) bool { return m.ControlPlane && m.committed(newest) })
}
