package plan

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Choice selects services: the named ones, or all except the skipped ones. An
// empty Choice selects all.
type Choice struct{ Names, Skip []string }

func (c Choice) all() bool { return len(c.Names) == 0 && len(c.Skip) == 0 }

// check reports an unknown service, and names together with skipped services.
func (c Choice) check(services []ServiceSpec) error {
	if len(c.Names) > 0 && len(c.Skip) > 0 {
		return pai.Errorf(pai.CodeUsage, "give either names or --skip",
			"services are both named (%s) and skipped (%s)", strings.Join(c.Names, ", "), strings.Join(c.Skip, ", "))
	}
	for _, n := range slices.Concat(c.Names, c.Skip) {
		if find := func(s ServiceSpec) bool { return s.Name == n }; !slices.ContainsFunc(services, find) {
			return unknownService(n, services)
		}
	}
	return nil
}

// toStart returns the chosen services and their prerequisites. A skipped
// prerequisite must already run, because it is not started.
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
		return nil, pai.Errorf(pai.CodeRefused, "start the prerequisites, or also skip the services that need them, with --skip "+strings.Join(slices.Compact(skip), ","),
			"skipped prerequisites do not run: %s", strings.Join(why, "; "))
	}
	return wanted, nil
}

// toStop returns the chosen services and all that need them. A skipped service
// keeps running, and so must its prerequisites.
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
			case mightRun(w, s.Name) && mightRun(w, p):
				why, skip = append(why, s.Name+" needs "+p), append(skip, p)
			}
		}
	}
	if len(why) > 0 {
		slices.Sort(skip)
		return nil, pai.Errorf(pai.CodeRefused, "also stop the services that need them, or also skip the prerequisites, with --skip "+strings.Join(slices.Compact(skip), ","),
			"skipped services would lose a prerequisite: %s", strings.Join(why, "; "))
	}
	return stop, nil
}

// mightRun reports whether a service is installed, or might be during an API
// outage.
func mightRun(w World, name string) bool {
	_, installed := w.Services[name]
	return installed || !w.APIReachable
}

// withPrerequisites returns the named services, or all if none is named, and
// their prerequisites.
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
	return pai.Errorf(pai.CodeUsage, "name one of the services: "+strings.Join(names, ", "), "service %q not found", name)
}
