package plan

import (
	"fmt"
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
)

// Refresh plans the steps that apply the configuration to the named services, or
// to all if none is named, each at its present version. Every service has a step,
// because World does not show the configuration that it was rendered from; the
// step is skipped if nothing changes. configured is the version in the configuration.
func Refresh(in Input, names []string, configured pai.ServicesVersion) (Plan, error) {
	w := in.World
	if err := servicesObserved(w); err != nil {
		return Plan{}, err
	}
	if len(w.Services) == 0 {
		return Plan{}, pai.Errorf(pai.CodeRefused, "start the services; run: paictl service start", "no running service to refresh")
	}
	installed, err := installedServices(in)
	if err != nil {
		return Plan{}, err
	}
	if err := canRefresh(in, names); err != nil {
		return Plan{}, err
	}
	d := stepGraph{phase: "services"}
	for _, s := range installed {
		release := w.Services[s.Name].Release
		var after []StepID
		for _, p := range s.Prerequisites {
			after = append(after, StepID("services/refresh/"+p))
		}
		d.add(len(names) == 0 || slices.Contains(names, s.Name), Step{ID: StepID("services/refresh/" + s.Name), Kind: KindRefresh, Target: s.Name,
			From: pai.AnyVersion(release), To: pai.AnyVersion(release), Risk: riskOf(s.Impact, w, s.Name)}, after...)
	}
	p := Plan{Verb: pai.VerbRefresh, From: w.Current, To: w.Current, Hops: []Hop{}, Steps: d.reduce(), Notes: refreshNotes(in, configured)}
	return p, p.Validate()
}

// servicesObserved returns an error if the services could not be observed.
func servicesObserved(w World) error {
	switch {
	case w.Current.Kubernetes == "":
		return pai.Errorf(pai.CodeRefused, "boot the cluster first; run: paictl cluster k8s-bootup", "no Kubernetes to run services on")
	case !w.APIReachable:
		return pai.Errorf(pai.CodeFailed, "to check the cluster, run: paictl cluster status", "cannot observe the services: %s", w.APIOutage())
	}
	return nil
}

// installedServices returns the installed services, prerequisites first, as their
// release describes them. A service that its release lacks is left out: nothing
// can be rendered for it.
func installedServices(in Input) ([]ServiceSpec, error) {
	var found []ServiceSpec
	for _, name := range slices.Sorted(maps.Keys(in.World.Services)) {
		release := in.World.Services[name].Release
		services, known := in.Services[release]
		if !known {
			return nil, pai.Errorf(pai.CodeFailed, "build the bundle; run: paictl release build "+string(release),
				"service %s uses release %s, and this host does not have its bundle", name, release)
		}
		if i := slices.IndexFunc(services, func(s ServiceSpec) bool { return s.Name == name }); i >= 0 {
			found = append(found, services[i])
		}
	}
	isFound := func(name string) bool {
		return slices.ContainsFunc(found, func(s ServiceSpec) bool { return s.Name == name })
	}
	for i := range found {
		found[i].Prerequisites = slices.DeleteFunc(slices.Clone(found[i].Prerequisites), func(p string) bool { return !isFound(p) })
	}
	return Order(found)
}

// canRefresh returns an error for an unknown service, or one that does not run.
func canRefresh(in Input, names []string) error {
	known := in.Services[in.World.Current.Services]
	for _, n := range names {
		release := in.World.Services[n].Release
		switch is := func(s ServiceSpec) bool { return s.Name == n }; {
		case release != "" && slices.ContainsFunc(in.Services[release], is):
		case release == "" && slices.ContainsFunc(known, is):
			return pai.Errorf(pai.CodeRefused, "start the service; run: paictl service start "+n, "service %s does not run", n)
		default:
			return unknownService(n, known)
		}
	}
	return nil
}

func refreshNotes(in Input, configured pai.ServicesVersion) []string {
	current := in.World.Current.Services
	var notes []string
	if current.Less(configured) {
		notes = append(notes, fmt.Sprintf("the services stay at %s; to upgrade them, run: paictl upgrade apply --to %s; the configuration names that release", current, configured))
	}
	digest := in.BundleOfServices(current, "").Digest
	for _, m := range in.World.Active("").Machines {
		if m.Unreachable == "" && digest != "" && !slices.Contains(m.Images, digest) {
			notes = append(notes, fmt.Sprintf("machine %s lacks images of release %s; run: paictl service start; it copies them", m.Name, current))
		}
	}
	return notes
}
