package plan

import (
	"fmt"
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
)

// Refresh plans what brings the named services, all that run when no name is
// given, in line with the configuration, each at the release that it is of. It
// has a step for every one of them, because the world as data does not show
// what each was rendered from: those that are in line are left out when they
// are looked at. configured is the release that the configuration names.
func Refresh(in Input, names []string, configured pai.ServicesVersion) (Plan, error) {
	w := in.World
	if err := servicesSeen(w); err != nil {
		return Plan{}, err
	}
	if len(w.Services) == 0 {
		return Plan{}, pai.Errorf(pai.CodeRefused, "start them: paictl service start", "no services run that could be refreshed")
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

// servicesSeen refuses to plan from services that could not be seen.
func servicesSeen(w World) error {
	switch {
	case w.Current.Kubernetes == "":
		return pai.Errorf(pai.CodeRefused, "boot one first: paictl cluster k8s-bootup", "there is no Kubernetes to run services on")
	case !w.APIReachable:
		return pai.Errorf(pai.CodeFailed, "see: paictl cluster status", "the services cannot be seen, the API does not answer: %s", orNothing(w.APIError))
	}
	return nil
}

// installedServices are the services that are installed, each as the release
// that it is of describes it, prerequisites first. What the release does not
// have is left out: nothing can be rendered for it.
func installedServices(in Input) ([]ServiceSpec, error) {
	var found []ServiceSpec
	for _, name := range slices.Sorted(maps.Keys(in.World.Services)) {
		release := in.World.Services[name].Release
		services, known := in.Services[release]
		if !known {
			return nil, pai.Errorf(pai.CodeFailed, "build it with: paictl release build "+string(release),
				"service %s is of release %s, and its bundle is not here", name, release)
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

// canRefresh reports a name that is no service, or one that does not run.
func canRefresh(in Input, names []string) error {
	known := in.Services[in.World.Current.Services]
	for _, n := range names {
		release := in.World.Services[n].Release
		switch is := func(s ServiceSpec) bool { return s.Name == n }; {
		case release != "" && slices.ContainsFunc(in.Services[release], is):
		case release == "" && slices.ContainsFunc(known, is):
			return pai.Errorf(pai.CodeRefused, "start it: paictl service start "+n, "service %s does not run, so there is nothing to refresh", n)
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
		notes = append(notes, fmt.Sprintf("the configuration names release %s, and the services stay at %s; paictl upgrade apply --to %s moves them", configured, current, configured))
	}
	digest := in.bundleOfServices(current, "").Digest
	for _, m := range in.World.Machines {
		if m.Unreachable == "" && digest != "" && !slices.Contains(m.Images, digest) {
			notes = append(notes, fmt.Sprintf("machine %s lacks images of release %s; paictl service start brings them", m.Name, current))
		}
	}
	return notes
}
