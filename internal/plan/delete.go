package plan

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// DeletePlan returns the plan of `service delete`: it deletes one service and,
// with wipe, its state. It refuses to delete a service that others need. A
// service that does not run has a step, too, because World does not show what it
// left; the step is skipped if nothing is left. A service that the release does
// not have can be deleted while it runs.
func DeletePlan(in Input, name string, wipe bool) (Plan, error) {
	w := in.World
	if err := servicesObserved(w); err != nil {
		return Plan{}, err
	}
	release := w.ServicesRelease()
	_, installed := w.Services[name]
	if release == "" && !installed {
		return Plan{}, pai.Errorf(pai.CodeRefused, "to list the services, run: paictl service status", "no service was ever started on this cluster")
	}
	ordered, err := Order(in.Services[release])
	if err != nil {
		return Plan{}, err
	}
	var notes []string
	service := foreignService(name)
	switch i := slices.IndexFunc(ordered, func(s ServiceSpec) bool { return s.Name == name }); {
	case i >= 0:
		service = ordered[i]
	case !installed:
		return Plan{}, unknownService(name, ordered)
	case wipe:
		notes = append(notes, "the release does not have service "+name+", so files of it on machines are unknown and stay")
	}
	if needing := installedNeeding(w, ordered, name); len(needing) > 0 {
		return Plan{}, pai.Errorf(pai.CodeRefused, "stop or delete the dependent services first; run: paictl service stop "+strings.Join(needing, " "),
			"service %s is a prerequisite of running services: %s", name, strings.Join(needing, ", "))
	}
	d := stepGraph{phase: "services"}
	id := StepID("services/delete/" + name)
	d.add(true, Step{ID: id, Kind: KindDelete, Target: name, From: pai.AnyVersion(w.Services[name].Release), Risk: riskOf(service.Impact, w, name), Wipe: wipe})
	if volume := service.Volume; wipe && volume != "" {
		d.add(true, Step{ID: id + "/volume", Kind: KindVolume, Target: volume, Risk: pai.RiskNone, Wipe: true}, id)
	}
	steps := d.reduce()
	p := Plan{Verb: pai.VerbDeleteService, From: w.Current, To: in.After(w, steps).Current, Hops: []Hop{}, Steps: steps, Notes: notes}
	return p, p.Validate()
}

// installedNeeding lists the installed services that need one, themselves or
// through others.
func installedNeeding(w World, ordered []ServiceSpec, name string) []string {
	needs := map[string]bool{name: true}
	var found []string
	for _, s := range ordered {
		if !slices.ContainsFunc(s.Prerequisites, func(p string) bool { return needs[p] }) {
			continue
		}
		needs[s.Name] = true
		if _, installed := w.Services[s.Name]; installed {
			found = append(found, s.Name)
		}
	}
	return found
}
