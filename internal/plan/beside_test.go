package plan

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// A service waits for each prerequisite that has a step, except one that it can start beside
// and that was observed to be ready while the service itself runs.
func TestServicesWaitUnlessTheyStartBeside(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		services := anyServices(t)
		w := World{APIReachable: rapid.Bool().Draw(t, "API"), Services: map[string]Installed{}}
		for i := range services {
			s := &services[i]
			for _, p := range s.Prerequisites {
				if rapid.Bool().Draw(t, s.Name+" beside "+p) {
					s.Beside = append(s.Beside, p)
				}
			}
			if rapid.Bool().Draw(t, s.Name+" is installed") {
				release := rapid.SampledFrom([]pai.ServicesVersion{"v0.10", "v0.11"}).Draw(t, "release")
				w.Services[s.Name] = Installed{Release: release, Ready: rapid.Bool().Draw(t, s.Name+" is ready")}
			}
		}
		steps, err := Services(w, "v0.11", services, ServicesOptions{Bundle: BundleRef{Release: "v0.11"}})
		if err != nil {
			t.Fatal(err)
		}
		planned := func(name string) bool {
			return slices.ContainsFunc(steps, func(s Step) bool { return s.ID == StepID("services/v0.11/"+name) })
		}
		for _, s := range services {
			if !planned(s.Name) {
				continue
			}
			direct := steps[slices.IndexFunc(steps, func(o Step) bool { return o.Target == s.Name })].After
			for _, p := range s.Prerequisites {
				id := StepID("services/v0.11/" + p)
				_, runs := w.Services[s.Name]
				beside := runs && slices.Contains(s.Beside, p) && w.APIReachable && w.Services[p].Ready
				if planned(p) && !beside && !waitsFor(Plan{Steps: steps}, StepID("services/v0.11/"+s.Name), id) {
					t.Fatalf("%s does not wait for %s, which it needs: %v", s.Name, p, steps)
				}
				// Through a prerequisite without a step, it waits for what that one waits for.
				through := slices.ContainsFunc(s.Prerequisites, func(o string) bool { return o != p && !planned(o) })
				if beside && !through && slices.Contains(direct, id) {
					t.Fatalf("%s waits for %s, which is ready: %v", s.Name, p, steps)
				}
			}
		}
	})
}
