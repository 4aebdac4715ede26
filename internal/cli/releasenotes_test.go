package cli

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

func TestReleaseNotesOfThePathOfAnUpgrade(t *testing.T) {
	t.Parallel()
	known, err := release.LoadRows(releases.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		from pai.Pair
		to   plan.Target
		want []pai.Release
	}{
		{"two hops", pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, plan.Target{Release: "v0.11"}, []pai.Release{"v0.10", "v0.11"}},
		{"one release", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, plan.Target{Release: "v0.11"}, []pai.Release{"v0.11"}},
		{"only Kubernetes", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, plan.Target{Release: "v0.11", KubernetesOnly: true}, []pai.Release{"v0.11"}},
		{"only the services", pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}, plan.Target{Release: "v0.10", ServicesOnly: true}, []pai.Release{"v0.10"}},
		{"at the target", pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}, plan.Target{Release: "v0.11"}, nil},
	} {
		list, err := plan.Offline(known, c.from, c.to)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		notes, err := releaseNotes(list.Hops, known)
		if err != nil {
			t.Fatal(err)
		}
		var got []pai.Release
		for _, n := range notes {
			got = append(got, n.Release)
		}
		if len(got) != len(c.want) || len(got) > 0 && (got[0] != c.want[0] || got[len(got)-1] != c.want[len(c.want)-1]) {
			t.Errorf("%s: got notes of %v, want %v", c.name, got, c.want)
		}
	}
	if notes, err := releaseNotes([]plan.Hop{{Kind: plan.HopServices, From: "v0.11", To: "v0.11"}}, known); err != nil || notes != nil {
		t.Errorf("the same version again: got %v, %v; want no notes", notes, err)
	}
}

func TestPlanShowsReleaseNotesBriefly(t *testing.T) {
	t.Parallel()
	n, ok, err := release.LoadNotes(releases.FS, "v0.11")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	view := planView{Plan: plan.Plan{Verb: pai.VerbUpgrade}, ReleaseNotes: []release.Notes{n}}
	var text strings.Builder
	if err := ui.Text(&text, func(p *ui.Page) { view.write(p, operation.Preview{}) }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Release notes of v0.11", "containerd", "none: containers keep their shims", "paictl release show v0.11"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("got %s, want %q in it", text.String(), want)
		}
	}
	if strings.Contains(text.String(), "SELinux") {
		t.Error("the short form has the text of the notes")
	}
}
