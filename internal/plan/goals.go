package plan

import (
	"strings"

	"pai.dev/pai/internal/pai"
)

// Boot plans the steps until the machines run the Kubernetes of the pair: a
// first boot, the hops of an upgrade, or a repair. It does not upgrade services.
func Boot(in Input, pair pai.Pair) (Plan, error) {
	return in.planActive(func(in Input) (Plan, error) { return boot(in, pair) })
}

func boot(in Input, pair pai.Pair) (Plan, error) {
	if err := in.refuseOccupied(); err != nil {
		return Plan{}, err
	}
	current := in.World.Current
	bundle := in.bundleOf(pair.Kubernetes, in.BundleOfServices(pair.Services, "").Release)
	if current.Kubernetes.Less(pair.Kubernetes) && current.Kubernetes != "" {
		if bundle.Release == "" {
			return Plan{}, pai.Errorf(pai.CodeUsage, "to list the releases, run: paictl release list", "no release has Kubernetes %s", pair.Kubernetes)
		}
		p, err := Upgrade(in, Target{Release: bundle.Release, KubernetesOnly: true})
		if err != nil {
			return Plan{}, err
		}
		for _, h := range p.Hops {
			if h.Kind == HopServices {
				return Plan{}, pai.Errorf(pai.CodeRefused, "upgrade both parts; run: paictl upgrade apply --kubernetes --to "+string(bundle.Release),
					"Kubernetes %s needs services %s first, and a boot does not upgrade services", pair.Kubernetes, h.To)
			}
		}
		p.Verb = pai.VerbBoot
		return p, nil
	}
	if err := Compatible(in.Releases, pai.Pair{Services: current.Services, Kubernetes: pair.Kubernetes}); err != nil && current.Kubernetes == "" {
		return Plan{}, err
	}
	steps, err := Kubernetes(in.World, pair.Kubernetes, PinsOf(in.Releases), KubernetesOptions{Bundle: bundle, Expected: in.Expected, Manifests: in.Manifests[pair.Kubernetes.Label()], Again: true})
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbBoot, From: current, To: pai.Pair{Services: current.Services, Kubernetes: pair.Kubernetes}, Hops: []Hop{}, Steps: steps}
	in.noteReservations(&p)
	in.noteKinds(&p)
	in.noteDevicePlugins(&p)
	in.noteUnclear(&p)
	return p, p.Validate()
}

// Start plans the steps until the chosen services run from a release. Services
// that run from it are applied again, because their configuration might have
// changed; older ones take the hops of an upgrade. It does not upgrade Kubernetes.
func Start(in Input, target pai.Release, which Choice) (Plan, error) {
	return in.planActive(func(in Input) (Plan, error) { return start(in, target, which) })
}

func start(in Input, target pai.Release, which Choice) (Plan, error) {
	// Stopped services continue from the release that ran last.
	if in.World.Current.Services == "" {
		in.World.Current.Services = in.World.RecordedServices
	}
	current := in.World.Current
	row, err := findRelease(in.Releases, target)
	if err != nil {
		return Plan{}, err
	}
	to, name := row.Services.Version, row.Metadata.Name
	switch {
	case current.Kubernetes == "":
		return Plan{}, pai.Errorf(pai.CodeRefused, "boot the cluster first; run: paictl cluster k8s-bootup", "no Kubernetes to run services on")
	case to.Less(current.Services):
		return Plan{}, pai.Errorf(pai.CodeRefused, "set cluster.common.release to "+string(current.Services)+" or newer",
			"cannot downgrade the services from %s to %s", current.Services, to)
	case current.Services.Less(to) && current.Services != "":
		return startNewer(in, name, which)
	}
	if err := Compatible(in.Releases, pai.Pair{Services: to, Kubernetes: current.Kubernetes}); err != nil {
		return Plan{}, err
	}
	steps, err := Services(in.World, to, in.Services[to], ServicesOptions{
		Bundle: BundleRef{Release: name, Digest: in.Digests[name]}, Choice: which, Again: true, Previous: in.Services[to],
		Migrations: in.migrationsTo(to)})
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbStartServices, From: current, To: pai.Pair{Services: to, Kubernetes: current.Kubernetes}, Hops: []Hop{}, Steps: steps}
	return p, p.Validate()
}

// startNewer upgrades to a newer release, which all services do together.
func startNewer(in Input, to pai.Release, which Choice) (Plan, error) {
	if !which.all() {
		return Plan{}, pai.Errorf(pai.CodeRefused, "start all services, or upgrade them; run: paictl upgrade apply --services --to "+string(to),
			"services %s run, and release %s cannot be started for single services", in.World.Current.Services, to)
	}
	p, err := Upgrade(in, Target{Release: to, ServicesOnly: true})
	if err != nil {
		return Plan{}, err
	}
	for _, h := range p.Hops {
		if h.Kind == HopKubernetes {
			return Plan{}, pai.Errorf(pai.CodeRefused, "upgrade both parts; run: paictl upgrade apply --to "+string(to),
				"services %s need Kubernetes %s first, and starting services does not upgrade Kubernetes", to, h.To)
		}
	}
	p.Verb = pai.VerbStartServices
	return p, nil
}

// StopPlan returns the plan of `service stop`.
func StopPlan(in Input, which Choice) (Plan, error) {
	current := in.World.Current
	steps, err := Stop(in.World, in.Services[in.World.ServicesRelease()], which)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Verb: pai.VerbStopServices, From: current, To: in.After(in.World, steps).Current, Hops: []Hop{}, Steps: steps}
	return p, p.Validate()
}

// CleanPlan returns the plan of `cluster k8s-clean`.
func CleanPlan(w World, wipe bool) (Plan, error) {
	if stranded := w.jobsOutsideLayout(); wipe && len(stranded) > 0 {
		return Plan{}, pai.Errorf(pai.CodeRefused, "stop the jobs, or delete the nodes; for the jobs, run: paictl job list",
			"jobs run on nodes that are not in the configuration, and would lose their cluster: %s", strings.Join(stranded, ", "))
	}
	if unknown := w.unknownOutsideLayout(); wipe && unknown != "" {
		return Plan{}, pai.Errorf(pai.CodeRefused, "add these machines to layout.yaml; or, if no job runs there, delete their lines, which end with # pai, from /etc/hosts of the control-plane machine",
			"without the API server, it is unknown whether jobs run on machines that are not in the configuration, and would lose their cluster: %s", unknown)
	}
	p := Plan{Verb: pai.VerbClean, From: w.Current, To: w.Current, Hops: []Hop{}, Steps: Clean(w, wipe)}
	if wipe {
		p.To = pai.Pair{}
	}
	return p, p.Validate()
}
