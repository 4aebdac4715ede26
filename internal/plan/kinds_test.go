package plan

import (
	"os"
	"regexp"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A plan with a kind that the table misses could be saved and not be read.
func TestKindsListsEveryKind(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("kinds.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*Kind\w+\s+Kind = "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	for _, m := range found {
		if !Kind(m[1]).Known() {
			t.Errorf("the table lacks %q", m[1])
		}
	}
	if len(found) != len(Kinds()) {
		t.Errorf("got %d kinds in the table, want %d", len(Kinds()), len(found))
	}
}

func TestTraitsAreConsistent(t *testing.T) {
	t.Parallel()
	for _, k := range Kinds() {
		traits := k.Traits()
		if traits.NeedsBundle && traits.source == sourceNone {
			t.Errorf("%s needs a bundle of an unknown release", k)
		}
		if traits.OfService != (traits.Subject == SubjectService) {
			t.Errorf("%s: of a service %v, subject %d", k, traits.OfService, traits.Subject)
		}
		if traits.onMachine != nil && traits.Subject != SubjectMachine {
			t.Errorf("%s changes a machine, and its subject is %d", k, traits.Subject)
		}
	}
}

func TestBundleReleaseFollowsKindAndVersion(t *testing.T) {
	t.Parallel()
	// v0.10.1 is a release that changes neither the services nor Kubernetes.
	patch := row("v0.10.1", "v0.9", "v0.10-pai", "v1.36.3", "v0.10-pai", "v0.9-pai")
	patch.Services.Version = "v0.10"
	rows := append(twoReleases(), patch)
	for _, c := range []struct {
		name  string
		step  Step
		want  pai.Release
		fails bool
	}{
		{"images name their release", Step{Kind: KindImages, To: "v0.10"}, "v0.10", false},
		{"a service comes from the newest release with it", Step{Kind: KindService, To: "v0.10"}, "v0.10.1", false},
		{"services of no known release", Step{Kind: KindRefresh, To: "v0.8"}, "v0.8", false},
		{"programs come from the oldest release with that Kubernetes", Step{Kind: KindPrograms, To: "v0.10-pai"}, "v0.10", false},
		{"Kubernetes of no known release", Step{Kind: KindPrograms, To: "v0.8-pai"}, "", true},
		{"a removal brings nothing", Step{Kind: KindStop, To: "v0.10"}, "", false},
	} {
		got, err := c.step.BundleRelease(rows)
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestNeedsBundleFollowsKindAndDirection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		step Step
		want bool
	}{
		{Step{Kind: KindService, From: "v0.9", To: "v0.10"}, true},
		{Step{Kind: KindService, From: "v0.10", To: "v0.9"}, false},
		{Step{Kind: KindPrograms, From: "v0.10-pai", To: "v0.9-pai"}, true},
		{Step{Kind: KindKubelet, To: "v0.10-pai"}, false},
	} {
		if got := c.step.NeedsBundle(); got != c.want {
			t.Errorf("%s from %q to %q: got %v, want %v", c.step.Kind, c.step.From, c.step.To, got, c.want)
		}
	}
}

// A Kubernetes that two releases share: its bundle is that of the services'
// release, and a version of Kubernetes is no limit for releases.
func TestBootTakesBundleOfServicesRelease(t *testing.T) {
	t.Parallel()
	shared := row("v0.11", "v0.10", "v0.10-pai", "v1.36.3", "v0.10-pai", "v0.9-pai")
	rows := append(twoReleases(), shared)
	for services, want := range map[pai.ServicesVersion]pai.AnyVersion{"v0.10": "v0.10", "v0.11": "v0.11"} {
		p, err := Boot(input(bare("cp-01"), rows), pai.Pair{Services: services, Kubernetes: "v0.10-pai"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Steps {
			if s.Kind == KindImages && s.To != want {
				t.Errorf("services %s: got images of %s, want %s", services, s.To, want)
			}
		}
	}
}
