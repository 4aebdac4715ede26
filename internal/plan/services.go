package plan

import (
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// ServiceSpec is what planning knows of a PAI service: service.yaml as data.
type ServiceSpec struct {
	Name          string
	Prerequisites []string
	// Beside are prerequisites that need not be ready again before the service starts: it
	// needs of each only what one of any release has.
	Beside []string `json:",omitempty"`
	Impact pai.JobImpact
	// Volume is the directory of its state on machines; empty for none.
	Volume string `json:",omitempty"`
}

// ServicesOptions are the options of Services.
type ServicesOptions struct {
	Bundle BundleRef
	// Choice is which services to start, with their prerequisites.
	Choice
	// Again plans the named services even where they are ready from the
	// release already: their configuration may have changed.
	Again bool
	// Previous are the services of the running release, for the job impact of
	// those that are stopped.
	Previous []ServiceSpec
	// Migrations are those of the release and of all before it.
	Migrations []release.Migration
}

// Services plans the steps that bring the services to a release, in the order
// of their prerequisites, except those that start beside one that is ready. With all services, those that the release no longer
// has are stopped once the others are ready.
func Services(w World, to pai.ServicesVersion, services []ServiceSpec, o ServicesOptions) ([]Step, error) {
	ordered, err := Order(services)
	if err != nil {
		return nil, err
	}
	wanted, err := o.toStart(ordered, w)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, n := range o.Names {
		named[n] = true
	}

	d := stepGraph{phase: "services/" + string(to)}
	prefix := d.phase + "/"
	var images []StepID
	for _, m := range w.Machines {
		id := d.add(m.Unreachable != "" || !slices.Contains(m.Images, o.Bundle.Digest), Step{
			ID: StepID(prefix + "machine/" + m.Name + "/images"), Kind: KindImages, Target: m.Name, To: pai.AnyVersion(o.Bundle.Release), Risk: pai.RiskNone})
		if m.Unreachable == "" { // a lost machine blocks no service
			images = append(images, id)
		}
	}
	var started []StepID
	work := false
	for _, s := range ordered {
		if !wanted[s.Name] {
			continue
		}
		was := w.Services[s.Name]
		again := o.Again && (len(named) == 0 || named[s.Name])
		needed := !w.APIReachable || again || was.Release.Less(to) || !was.Ready
		if was.Release != "" && to.Less(was.Release) {
			needed = false // no downgrade
		}
		work = work || needed
		after := slices.Clone(images)
		for _, p := range s.Prerequisites {
			if !s.startsBeside(p, w) {
				after = append(after, StepID(prefix+p))
			}
		}
		started = append(started, d.add(needed, Step{ID: StepID(prefix + s.Name), Kind: KindService, Target: s.Name,
			From: pai.AnyVersion(was.Release), To: pai.AnyVersion(to), Risk: riskOf(s.Impact, w, s.Name)}, after...))
	}
	migrated := migrations(&d, w, prefix, to, wanted, o.Migrations)
	for _, id := range migrated {
		work = work || d.needed[id]
	}
	if o.all() {
		work = stopRemovedServices(&d, w, prefix+"stop/", to, ordered, o.Previous, slices.Concat(started, migrated)) || work
		record := d.add(w.RecordedServices != to, Step{ID: StepID(prefix + "record"), Kind: KindServices,
			From: pai.AnyVersion(w.RecordedServices), To: pai.AnyVersion(to), Risk: pai.RiskNone}, last(d.steps)...)
		work = work || d.needed[record]
	}
	if !work {
		return nil, nil // images alone are no reason for a plan
	}
	return d.reduce(), nil
}

// startsBeside reports whether the service does not wait for the step of a prerequisite. One
// that was not observed to be ready is always waited for. So does a service that does not run
// yet: nothing gains from its early start, and no older one has shown that it works with an
// older prerequisite.
func (s ServiceSpec) startsBeside(prerequisite string, w World) bool {
	_, runs := w.Services[s.Name]
	return runs && slices.Contains(s.Beside, prerequisite) && w.APIReachable && w.Services[prerequisite].Ready
}

// migrations adds the steps that bring what PAI stores into the form of a
// release, each after the service that reads both forms.
func migrations(d *stepGraph, w World, prefix string, to pai.ServicesVersion, wanted map[string]bool, list []release.Migration) []StepID {
	var from pai.ServicesVersion
	if runs := w.services(); runs.Less(to) {
		from = runs
	}
	var ids []StepID
	for _, m := range list {
		if !wanted[m.After] {
			continue
		}
		needed := slices.Contains(w.Unmigrated, m.Name) || !w.APIReachable
		ids = append(ids, d.add(needed, Step{ID: StepID(prefix + "migrate/" + m.Name), Kind: KindMigrate, Target: m.Name,
			From: pai.AnyVersion(from), To: pai.AnyVersion(to), Risk: pai.RiskNone}, StepID(prefix+m.After)))
	}
	return ids
}

// stopRemovedServices adds stops for installed services that the release does not
// have. During an API outage it adds them for all that only the previous release has.
func stopRemovedServices(d *stepGraph, w World, prefix string, to pai.ServicesVersion, services, previous []ServiceSpec, after []StepID) bool {
	known := map[string]ServiceSpec{}
	for _, s := range previous {
		known[s.Name] = s
	}
	installed := w.Services
	if !w.APIReachable {
		installed = map[string]Installed{}
		for name := range known {
			installed[name] = Installed{}
		}
	}
	var leaving []ServiceSpec
	for _, name := range slices.Sorted(maps.Keys(installed)) {
		stays := slices.ContainsFunc(services, func(s ServiceSpec) bool { return s.Name == name })
		if stays || to.Less(installed[name].Release) {
			continue
		}
		s, ok := known[name]
		if !ok {
			s = foreignService(name)
		}
		leaving = append(leaving, s)
	}
	stopSteps(d, w, prefix, leaving, after)
	return len(leaving) > 0
}

// foreignService is a service that no known release has. It might be in the data
// path of jobs.
func foreignService(name string) ServiceSpec {
	return ServiceSpec{Name: name, Impact: pai.ImpactDataPath}
}

// Stop plans the steps that stop the chosen services and those that need them,
// in the reverse order of their prerequisites. Only what is installed is
// stopped.
func Stop(w World, services []ServiceSpec, which Choice) ([]Step, error) {
	ordered, err := Order(services)
	if err != nil {
		return nil, err
	}
	stop, err := which.toStop(ordered, w)
	if err != nil {
		return nil, err
	}
	var affected []ServiceSpec
	for _, s := range ordered {
		if stop[s.Name] && mightRun(w, s.Name) {
			affected = append(affected, s)
		}
	}
	d := stepGraph{phase: "services"}
	stopSteps(&d, w, "services/stop/", affected, nil)
	return d.reduce(), nil
}

// stopSteps adds stops for services that are given in the order of their
// prerequisites.
func stopSteps(d *stepGraph, w World, prefix string, services []ServiceSpec, barrier []StepID) {
	for _, s := range slices.Backward(services) {
		after := slices.Clone(barrier)
		for _, other := range services {
			if slices.Contains(other.Prerequisites, s.Name) {
				after = append(after, StepID(prefix+other.Name))
			}
		}
		d.add(true, Step{ID: StepID(prefix + s.Name), Kind: KindStop, Target: s.Name,
			From: pai.AnyVersion(w.Services[s.Name].Release), Risk: riskOf(s.Impact, w, s.Name)}, after...)
	}
}

// riskOf is what running jobs may notice while a service is replaced. Jobs
// that run do not notice that none can be submitted.
func riskOf(i pai.JobImpact, w World, name string) pai.Risk {
	if _, installed := w.Services[name]; w.APIReachable && !installed {
		return pai.RiskNone
	}
	switch i {
	case pai.ImpactNone, pai.ImpactSubmission:
		return pai.RiskNone
	default:
		return pai.RiskDataPath
	}
}

// Order sorts services so that prerequisites come first, and by name where
// that leaves a choice. A cycle, or a prerequisite that does not exist, is an
// error.
func Order(services []ServiceSpec) ([]ServiceSpec, error) {
	left := map[string]ServiceSpec{}
	for _, s := range services {
		left[s.Name] = s
	}
	for _, s := range services {
		for _, p := range s.Prerequisites {
			if _, ok := left[p]; !ok {
				return nil, pai.Errorf(pai.CodeInvalid, "correct prerequisites in its service.yaml", "service %s needs %s, which does not exist", s.Name, p)
			}
		}
	}
	var ordered []ServiceSpec
	for len(left) > 0 {
		names := slices.Sorted(maps.Keys(left))
		i := slices.IndexFunc(names, func(n string) bool {
			return !slices.ContainsFunc(left[n].Prerequisites, func(p string) bool { _, waits := left[p]; return waits })
		})
		if i < 0 {
			return nil, pai.Errorf(pai.CodeInvalid, "correct prerequisites in their service.yaml",
				"services need each other in a circle, among them or before them: %s", strings.Join(names, ", "))
		}
		ordered = append(ordered, left[names[i]])
		delete(left, names[i])
	}
	return ordered, nil
}
