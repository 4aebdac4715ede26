package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// Input is what a goal is planned from.
type Input struct {
	World    World
	Releases []release.Manifest
	// Services lists the services of each release that may be needed.
	Services map[pai.ServicesVersion][]ServiceSpec
	// Digests has the bundle digest of each release. Machines report images by
	// the digest of their bundle.
	Digests map[pai.Release]string
	// Expected is what each machine should have, by its name.
	Expected map[string]Expected
	// Manifests are the cluster's own objects by the Kubernetes version.
	Manifests map[pai.KubernetesVersion]Manifests
	// Snapshots names the existing etcd snapshots, for a rollback.
	Snapshots []string
	// Recovery is what a restore from a backup starts from.
	Recovery Recovery
	// Keys are the keys that encrypt Secrets, for a change of them.
	Keys Keys
	// Occupied are the machines that run something for another cluster, for a boot.
	Occupied []OccupiedMachine
}

// Upgrade plans everything between the observed state and a target: the hops, in
// which the steps wait for the previous hop, and what an earlier run left. The
// plan is empty if nothing is to be done. During an API outage no service step
// counts as done, and an empty plan is an error.
func Upgrade(in Input, target Target) (Plan, error) {
	return in.planActive(func(in Input) (Plan, error) { return planUpgrade(in, target) })
}

func planUpgrade(in Input, target Target) (Plan, error) {
	in.World.Current.Services = in.World.services()
	hops, err := Hops(in.Releases, in.World.Current, target)
	if err != nil {
		return Plan{}, err
	}
	row, err := findRelease(in.Releases, target.Release)
	if err != nil {
		return Plan{}, err
	}
	u := &upgrade{in: in, world: in.World, target: target, release: row.Metadata.Name, pins: PinsOf(in.Releases)}
	for _, h := range hops {
		if h.Kind == HopKubernetes {
			u.versions = append(u.versions, h.To.Kubernetes())
		}
	}
	if err := u.checkUnconfiguredNodes(); err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbUpgrade, From: in.World.Current, To: in.World.Current, Hops: hops, Notes: startNotes(in.Releases, in.World.Current)}
	if err := u.outdatedMachines(hops); err != nil {
		return Plan{}, err
	}
	for _, h := range hops {
		if h.Kind == HopKubernetes {
			p.To.Kubernetes = h.To.Kubernetes()
			err = u.kubernetesHop(h)
		} else {
			p.To.Services = h.To.Services()
			err = u.servicesHop(h)
		}
		if err != nil {
			return Plan{}, fmt.Errorf("plan the hop of %s to %s: %w", h.Kind, h.To, err)
		}
	}
	p.Steps = configurationFirst(in.World, row.Configuration.Schema, u.steps)
	if err := in.World.noteAPIUnavailable(&p); err != nil {
		return Plan{}, err
	}
	if !in.World.APIReachable && in.World.Unconfigured.Nodes == nil && p.To.Kubernetes != p.From.Kubernetes {
		p.Notes = append(p.Notes, in.World.APIOutage()+", so it is unknown whether the new API server supports the kubelets of nodes that are not in the configuration")
	}
	in.noteReservations(&p)
	in.noteKinds(&p)
	in.noteDevicePlugins(&p)
	in.noteUnclear(&p)
	return p, p.Validate()
}

// upgrade collects the steps of an upgrade hop by hop.
type upgrade struct {
	in       Input
	target   Target
	release  pai.Release // the target's, as its manifest spells it
	pins     Pins
	versions []pai.KubernetesVersion // of the Kubernetes hops that are left
	world    World                   // as the steps so far leave it
	steps    []Step
	barrier  []StepID // what the next hop waits for
	bound    []Step   // the steps so far of roles that must not be too old for an API server
}

// add appends the steps of one hop and makes them wait for the barrier.
func (u *upgrade) add(steps []Step, barrier []StepID) {
	u.steps = append(u.steps, waitFor(steps, barrier)...)
	u.world = u.in.After(u.world, steps)
}

// outdatedMachines plans what is behind without being part of a hop: what an earlier
// run left incomplete, and machines where a role would be too old for the
// first API server of the way.
func (u *upgrade) outdatedMachines(hops []Hop) error {
	both := u.target.KubernetesOnly == u.target.ServicesOnly
	current := u.world.Current
	if len(u.versions) == 0 && (both || u.target.KubernetesOnly) {
		steps, err := Kubernetes(u.world, current.Kubernetes, u.pins, KubernetesOptions{Expected: u.in.Expected, Manifests: u.in.Manifests[current.Kubernetes.Label()], Bundle: u.in.bundleOf(current.Kubernetes, u.release)})
		if err != nil {
			return err
		}
		u.add(withoutImages(steps), nil)
	}
	if len(u.versions) > 0 {
		if tooOld := u.tooOldFor(u.versions[0]); len(tooOld) > 0 {
			steps, err := Kubernetes(u.world, current.Kubernetes, u.pins, KubernetesOptions{Expected: u.in.Expected, Manifests: u.in.Manifests[current.Kubernetes.Label()], Bundle: u.in.bundleOf(current.Kubernetes, u.release), Only: tooOld})
			if err != nil {
				return err
			}
			u.add(steps, nil)
			u.bound = boundIn(steps)
		}
	}
	moves := slices.ContainsFunc(hops, func(h Hop) bool { return h.Kind == HopServices })
	if !moves && current.Services != "" && (both || u.target.ServicesOnly) && u.in.Services[current.Services] != nil {
		return u.servicesTo(current.Services, current.Services)
	}
	return nil
}

func (u *upgrade) kubernetesHop(h Hop) error {
	to := h.To.Kubernetes()
	u.versions = u.versions[1:]
	o := KubernetesOptions{Expected: u.in.Expected, Manifests: u.in.Manifests[to.Label()], Bundle: u.in.bundleOf(to, u.release), Stay: map[string]bool{}}
	if len(u.versions) > 0 {
		tooOld := u.tooOldFor(u.versions[0])
		for _, m := range u.world.Machines {
			o.Stay[m.Name] = !m.ControlPlane && m.Joined && m.Unreachable == "" && !tooOld[m.Name]
		}
	}
	steps, err := Kubernetes(u.world, to, u.pins, o)
	if err != nil {
		return err
	}
	for i := range steps {
		if steps[i].StartsAPIServer() {
			steps[i].After = append(steps[i].After, u.tooOldUnless(to)...)
		}
	}
	u.add(steps, u.barrier)
	u.barrier = []StepID{StepID("kubernetes/" + string(to) + "/cluster/record")}
	u.bound = append(u.bound, boundIn(steps)...)
	return nil
}

func (u *upgrade) servicesHop(h Hop) error { return u.servicesTo(h.To.Services(), h.From.Services()) }

func (u *upgrade) servicesTo(to, from pai.ServicesVersion) error {
	services, known := u.in.Services[to]
	if !known {
		return pai.Errorf(pai.CodeFailed, "build the bundle; run: paictl release build "+string(to), "the services of release %s are unknown: this host does not have its bundle", to)
	}
	steps, err := Services(u.world, to, services, ServicesOptions{
		Bundle: u.in.BundleOfServices(to, u.release), Previous: u.in.Services[from], Migrations: u.in.migrationsTo(to)})
	if err != nil || len(steps) == 0 {
		return err
	}
	u.add(steps, u.barrier)
	u.barrier = last(steps)
	return nil
}

// bundleOf is the bundle that a Kubernetes version is taken from: that of the
// newest release up to a limit that brings it, so that a hop of the services to
// that release finds its images on the machines.
func (in Input) bundleOf(version pai.KubernetesVersion, limit pai.Release) BundleRef {
	return in.newest(limit, func(r release.Manifest) bool { return r.Kubernetes.Version.Compare(version) == 0 })
}

// BundleOfServices is the bundle that a version of the services is taken from.
func (in Input) BundleOfServices(version pai.ServicesVersion, limit pai.Release) BundleRef {
	return in.newest(limit, func(r release.Manifest) bool { return r.Services.Version.Compare(version) == 0 })
}

// newest is the bundle of the newest release up to a limit that brings
// something, of the oldest beyond the limit where there is none. No limit is "".
func (in Input) newest(limit pai.Release, brings func(release.Manifest) bool) BundleRef {
	var best pai.Release
	for _, r := range in.Releases {
		if name := r.Metadata.Name; brings(r) && (best == "" || better(name, best, limit)) {
			best = name
		}
	}
	return BundleRef{Release: best, Digest: in.Digests[best]}
}

func better(a, b, limit pai.Release) bool {
	within := func(r pai.Release) bool { return limit == "" || limit.AtLeast(r) }
	if within(a) != within(b) {
		return within(a)
	}
	return a.Less(b) != within(a)
}

// migrationsTo lists the migrations of a release and of all before it, oldest
// first: a hop may pass over a release, and none of its migrations.
func (in Input) migrationsTo(to pai.ServicesVersion) []release.Migration {
	oldestFirst := slices.SortedStableFunc(slices.Values(in.Releases), func(a, b release.Manifest) int {
		return a.Services.Version.Compare(b.Services.Version)
	})
	var list []release.Migration
	for _, r := range oldestFirst {
		if to.AtLeast(r.Services.Version) {
			list = append(list, r.Migrations...)
		}
	}
	return list
}

// tooOldFor names the machines where a kubelet or a kube-proxy is too old for
// an API server of a version. What is not known counts as too old.
func (u *upgrade) tooOldFor(version pai.KubernetesVersion) map[string]bool {
	names := map[string]bool{}
	for _, m := range u.world.Machines {
		for _, r := range []Role{RoleKubelet, RoleKubeProxy} {
			has := m.Roles[r].version()
			if !m.Joined || has == "" {
				continue // it begins with the version of the hop
			}
			if !u.serves(version, has) {
				names[m.Name] = true
			}
		}
	}
	return names
}

// serves reports whether an API server of a version serves a kubelet or a
// kube-proxy of another. What is not known is not served.
func (u *upgrade) serves(version, node pai.KubernetesVersion) bool {
	minors, ok := u.pins.behind(node, version)
	return ok && minors <= nodeSkew
}

// withoutImages leaves steps out that import images where nothing else is
// behind: the images of a version matter when something goes there.
func withoutImages(steps []Step) []Step {
	if slices.ContainsFunc(steps, func(s Step) bool { return s.Kind != KindImages }) {
		return steps
	}
	return nil
}

// tooOldUnless lists the steps without which something would be too old for
// an API server of a version: any of them may be left waiting for an idle machine.
func (u *upgrade) tooOldUnless(version pai.KubernetesVersion) []StepID {
	var ids []StepID
	for _, s := range u.bound {
		if !u.serves(version, s.From.Kubernetes()) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// boundIn keeps the steps that move a kubelet or a kube-proxy. A kube-proxy
// goes after its kubelet, so to wait for the kubelet is not enough.
func boundIn(steps []Step) []Step {
	return slices.DeleteFunc(slices.Clone(steps), func(s Step) bool { return s.Kind != KindKubelet && s.Role != RoleKubeProxy })
}

// last lists the service steps that no other waits for.
func last(steps []Step) []StepID {
	waited := map[StepID]bool{}
	for _, s := range steps {
		for _, id := range s.After {
			waited[id] = true
		}
	}
	var ids []StepID
	for _, s := range steps {
		if !waited[s.ID] && s.Kind != KindImages {
			ids = append(ids, s.ID)
		}
	}
	return ids
}
