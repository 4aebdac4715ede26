package plan

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// unseen is a world as it is observed while the API is away.
func unseen(in Input) Input {
	in.World = in.World.clone()
	in.World.APIReachable, in.World.APIError = false, "connection refused"
	in.World.Services, in.World.Jobs, in.World.Unmigrated, in.World.Current.Services = nil, nil, nil, ""
	for i := range in.World.Machines {
		in.World.Machines[i].Node = nil
	}
	return in
}

// Wherever an upgrade was left, what is planned while the API is away goes to
// the same end and leaves out nothing that would be planned if it answered.
func TestNothingUnseenIsTakenForDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		releases := manyReleases(rapid.IntRange(2, 7).Draw(t, "releases"))
		at := rapid.IntRange(0, len(releases)-1).Draw(t, "at")
		in := running(releases, releases[at].Metadata.Name, "master", "gpu-01")
		to := rapid.SampledFrom(releases).Draw(t, "to")
		only := rapid.IntRange(0, 3).Draw(t, "only")
		target := Target{Release: to.Metadata.Name, KubernetesOnly: only == 1, ServicesOnly: only == 2}
		p, err := Upgrade(in, target)
		if err != nil {
			t.Skip("no way")
		}
		order := linear(t, p)
		in.World = in.World.After(order[:rapid.IntRange(0, len(order)).Draw(t, "killed after")], in.Digests)
		seen, err := Upgrade(in, target)
		if err != nil {
			t.Fatal(err)
		}
		away, err := Upgrade(unseen(in), target)
		if err != nil {
			if len(seen.Steps) > 0 || !strings.Contains(err.Error(), "connection refused") {
				t.Fatalf("with the API away: %v", err)
			}
			return
		}
		if away.To != seen.To {
			t.Fatalf("it goes to %s, with the API away to %s", seen.To, away.To)
		}
		if len(away.Notes) == 0 || len(away.Steps) == 0 {
			t.Fatalf("with the API away %d steps are planned, with the notes %q", len(away.Steps), away.Notes)
		}
		for _, s := range seen.Steps {
			if s.Kind != KindUncordon && !slices.ContainsFunc(away.Steps, func(a Step) bool { return a.ID == s.ID }) {
				t.Fatalf("%s is not planned while the API is away", s.ID)
			}
		}
	})
}

func TestPlansWithoutAnAPI(t *testing.T) {
	done := running(twoReleases(), "v0.10", "master")
	if p, err := Rollback(unseen(done), done.World.Current, Target{}); pai.CodeOf(err) != pai.CodeFailed || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a way back with nothing to see: %v, %v", p.Steps, err)
	}
	if p, err := Upgrade(unseen(done), Target{Release: "v0.10", KubernetesOnly: true}); pai.CodeOf(err) != pai.CodeFailed {
		t.Errorf("Kubernetes with nothing to see: %v, %v", p.Steps, err)
	}
	never := unseen(running(twoReleases(), "v0.9", "master"))
	never.World.RecordedServices = ""
	p, err := Upgrade(never, Target{Release: "v0.10"})
	if err != nil || len(p.Steps) == 0 || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "run the command again for them") {
		t.Errorf("services that were never all brought up: %d steps, %q, %v", len(p.Steps), p.Notes, err)
	}
}
