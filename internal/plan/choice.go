package plan

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Choice says which services a verb is about: those that are named, or all but
// those to skip; all of them when it is empty.
type Choice struct{ Names, Skip []string }

func (c Choice) all() bool { return len(c.Names) == 0 && len(c.Skip) == 0 }

// check reports a name that is no service, and a choice that is made twice.
func (c Choice) check(services []ServiceSpec) error {
	if len(c.Names) > 0 && len(c.Skip) > 0 {
		return pai.Errorf(pai.CodeUsage, "leave out either the names or --skip",
			"services are both named (%s) and skipped (%s)", strings.Join(c.Names, ", "), strings.Join(c.Skip, ", "))
	}
	for _, n := range slices.Concat(c.Names, c.Skip) {
		if find := func(s ServiceSpec) bool { return s.Name == n }; !slices.ContainsFunc(services, find) {
			return unknownService(n, services)
		}
	}
	return nil
}

// toStart is the set of the chosen services and all that they need. What is
// skipped is left as it is, also where something needs it; so that has to run.
func (c Choice) toStart(ordered []ServiceSpec, w World) (map[string]bool, error) {
	if err := c.check(ordered); err != nil {
		return nil, err
	}
	wanted := withPrerequisites(ordered, c.Names)
	for _, n := range c.Skip {
		delete(wanted, n)
	}
	var why, skip []string
	for _, s := range ordered {
		for _, p := range s.Prerequisites {
			if _, runs := w.Services[p]; wanted[s.Name] && !wanted[p] && !runs {
				why, skip = append(why, s.Name+" needs "+p), append(skip, s.Name)
			}
		}
	}
	if len(why) > 0 {
		return nil, pai.Errorf(pai.CodeRefused, "start what is needed, or skip what needs it as well: --skip "+strings.Join(slices.Compact(skip), ","),
			"what is skipped and does not run is needed: %s", strings.Join(why, "; "))
	}
	return wanted, nil
}

// toStop is the set of the chosen services and all that need them. What is
// skipped goes on, so what it needs must.
func (c Choice) toStop(ordered []ServiceSpec, w World) (map[string]bool, error) {
	if err := c.check(ordered); err != nil {
		return nil, err
	}
	stop := map[string]bool{}
	var why, skip []string
	for _, s := range ordered {
		skipped := slices.Contains(c.Skip, s.Name)
		stop[s.Name] = len(c.Names) == 0 && !skipped || slices.Contains(c.Names, s.Name)
		for _, p := range s.Prerequisites {
			switch {
			case !stop[p]:
			case !skipped:
				stop[s.Name] = true
			case mayRun(w, s.Name) && mayRun(w, p):
				why, skip = append(why, s.Name+" needs "+p), append(skip, p)
			}
		}
	}
	if len(why) > 0 {
		slices.Sort(skip)
		return nil, pai.Errorf(pai.CodeRefused, "stop what needs it as well, or skip what is needed too: --skip "+strings.Join(slices.Compact(skip), ","),
			"what is skipped would lose what it needs: %s", strings.Join(why, "; "))
	}
	return stop, nil
}

// mayRun reports whether a service is installed, or nobody can say.
func mayRun(w World, name string) bool {
	_, installed := w.Services[name]
	return installed || !w.APIReachable
}

// withPrerequisites is the set of the named services, all when none is named,
// and all that they need.
func withPrerequisites(ordered []ServiceSpec, names []string) map[string]bool {
	wanted := map[string]bool{}
	for _, s := range slices.Backward(ordered) {
		if len(names) == 0 || slices.Contains(names, s.Name) {
			wanted[s.Name] = true
		}
		if wanted[s.Name] {
			for _, p := range s.Prerequisites {
				wanted[p] = true
			}
		}
	}
	return wanted
}

func unknownService(name string, services []ServiceSpec) error {
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
	}
	return pai.Errorf(pai.CodeUsage, "the services are "+strings.Join(names, ", "), "there is no service %q", name)
}
