package plan

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// duringOutage returns the input as it is observed during an API outage.
func duringOutage(in Input) Input {
	in.World = in.World.clone()
	in.World.APIReachable, in.World.APIError = false, "connection refused"
	in.World.Services, in.World.Jobs, in.World.Unmigrated, in.World.Current.Services = nil, nil, nil, ""
	for i := range in.World.Machines {
		in.World.Machines[i].Node = nil
	}
	return in
}

// Wherever an upgrade was interrupted, the plan during an API outage has the same
// target and every step of the plan without an outage.
func TestUpgradeDuringAPIOutagePlansEveryStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		releases := drawReleases(t, rapid.IntRange(2, 7).Draw(t, "releases"))
		at := rapid.IntRange(0, len(releases)-1).Draw(t, "at")
		in := running(releases, releases[at].Metadata.Name, "cp-01", "gpu-01")
		to := rapid.SampledFrom(releases).Draw(t, "to")
		only := rapid.IntRange(0, 3).Draw(t, "only")
		target := Target{Release: to.Metadata.Name, KubernetesOnly: only == 1, ServicesOnly: only == 2}
		p, err := Upgrade(in, target)
		if err != nil {
			t.Skip("no plan")
		}
		order := linear(t, p)
		in.World = in.After(in.World, order[:rapid.IntRange(0, len(order)).Draw(t, "killed after")])
		observed, err := Upgrade(in, target)
		if err != nil {
			t.Fatal(err)
		}
		outage, err := Upgrade(duringOutage(in), target)
		if err != nil {
			if len(observed.Steps) > 0 || !strings.Contains(err.Error(), "connection refused") {
				t.Fatalf("during an API outage: %v", err)
			}
			return
		}
		if outage.To != observed.To {
			t.Fatalf("the target is %s, during an API outage %s", observed.To, outage.To)
		}
		if len(outage.Notes) == 0 || len(outage.Steps) == 0 {
			t.Fatalf("during an API outage %d steps are planned, with the notes %q", len(outage.Steps), outage.Notes)
		}
		for _, s := range observed.Steps {
			if s.Kind != KindUncordon && !slices.ContainsFunc(outage.Steps, func(a Step) bool { return a.ID == s.ID }) {
				t.Fatalf("%s is not planned during an API outage", s.ID)
			}
		}
	})
}

func TestPlanDuringAPIOutageFailsOrHasNote(t *testing.T) {
	done := running(twoReleases(), "v0.10", "cp-01")
	if p, err := Rollback(duringOutage(done), done.World.Current, Target{}); pai.CodeOf(err) != pai.CodeFailed || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a rollback with nothing observed: %v, %v", p.Steps, err)
	}
	if p, err := Upgrade(duringOutage(done), Target{Release: "v0.10", KubernetesOnly: true}); pai.CodeOf(err) != pai.CodeFailed {
		t.Errorf("Kubernetes with nothing observed: %v, %v", p.Steps, err)
	}
	never := duringOutage(running(twoReleases(), "v0.9", "cp-01"))
	never.World.RecordedServices = ""
	p, err := Upgrade(never, Target{Release: "v0.10"})
	if err != nil || len(p.Steps) == 0 || len(p.Notes) != 2 || !strings.Contains(p.Notes[0], "run the command again for them") || !strings.Contains(p.Notes[1], "nodes that are not in the configuration") {
		t.Errorf("services that were never all brought up: %d steps, %q, %v", len(p.Steps), p.Notes, err)
	}
}

func TestAPIOutageNamesCauseIfKnown(t *testing.T) {
	t.Parallel()
	for cause, want := range map[string]string{
		"":                   "cannot observe the services: the API server is not responding",
		"connection refused": "cannot observe the services: the API server is not responding (connection refused)",
	} {
		w := World{APIError: cause}
		w.Current.Kubernetes = "v0.9-pai"
		if err := servicesObserved(w); err == nil || err.Error() != want {
			t.Errorf("cause %q: got %v, want %q", cause, err, want)
		}
		w.RecordedServices = "v0.9"
		p := Plan{Steps: []Step{{ID: "a"}}}
		if err := w.noteAPIUnavailable(&p); err != nil || len(p.Notes) != 1 || strings.Contains(p.Notes[0], "()") || !strings.Contains(p.Notes[0], cause) {
			t.Errorf("cause %q: got the notes %q, %v", cause, p.Notes, err)
		}
	}
}
