package plan

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// DeletePlan is the plan of `service delete`: one service goes and, with wipe,
// its state. It is refused while other services need it. There is a step also
// where the service does not run, because what it left behind is not in the
// world as data: what is done is left out when it is looked at.
func DeletePlan(in Input, name string, wipe bool) (Plan, error) {
	w := in.World
	if err := servicesSeen(w); err != nil {
		return Plan{}, err
	}
	release := w.ServicesRelease()
	if release == "" {
		return Plan{}, pai.Errorf(pai.CodeRefused, "see: paictl service status", "no services were ever started here, so there is nothing to delete")
	}
	ordered, err := Order(in.Services[release])
	if err != nil {
		return Plan{}, err
	}
	i := slices.IndexFunc(ordered, func(s ServiceSpec) bool { return s.Name == name })
	if i < 0 {
		return Plan{}, unknownService(name, ordered)
	}
	if needing := installedNeeding(w, ordered, name); len(needing) > 0 {
		return Plan{}, pai.Errorf(pai.CodeRefused, "delete or stop them first: paictl service stop "+strings.Join(needing, " "),
			"service %s is needed by services that run: %s", name, strings.Join(needing, ", "))
	}
	d := stepGraph{phase: "services"}
	id := StepID("services/delete/" + name)
	d.add(true, Step{ID: id, Kind: KindDelete, Target: name, From: pai.AnyVersion(w.Services[name].Release), Risk: riskOf(ordered[i].Impact, w, name), Wipe: wipe})
	if volume := ordered[i].Volume; wipe && volume != "" {
		d.add(true, Step{ID: id + "/volume", Kind: KindVolume, Target: volume, Risk: pai.RiskNone, Wipe: true}, id)
	}
	steps := d.reduce()
	p := Plan{Verb: pai.VerbDeleteService, From: w.Current, To: w.After(steps, in.Digests).Current, Hops: []Hop{}, Steps: steps}
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
