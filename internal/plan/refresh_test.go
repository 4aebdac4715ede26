package plan

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

// A refresh moves nothing: each service stays at the release that it is of,
// whatever the configuration names.
func TestRefreshKeepsReleases(t *testing.T) {
	mixed := running(twoReleases(), "v0.9", "cp-01")
	mixed.World.Services["kueue"] = Installed{Release: "v0.10", Ready: true}
	for _, in := range []Input{running(twoReleases(), "v0.9", "cp-01"), mixed} {
		p, err := Refresh(in, nil, "v0.10")
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Steps) != len(in.World.Services) || p.From != p.To {
			t.Errorf("%d steps for %d services, from %s to %s", len(p.Steps), len(in.World.Services), p.From, p.To)
		}
		for _, s := range p.Steps {
			if release := in.World.Services[s.Target].Release; s.From.Services() != release || s.To.Services() != release || s.Kind != KindRefresh {
				t.Errorf("%s goes from %s to %s, and %s runs", s.ID, s.From, s.To, release)
			}
		}
		after := in.After(in.World, p.Steps)
		if after.Current != in.World.Current {
			t.Errorf("%s becomes %s", in.World.Current, after.Current)
		}
		if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "the services stay at v0.9") || !strings.Contains(notes, "upgrade apply --to v0.10") {
			t.Errorf("nothing says that the configuration names a newer release: %q", notes)
		}
	}
	if p, err := Refresh(running(twoReleases(), "v0.9", "cp-01"), nil, "v0.9"); err != nil || len(p.Notes) > 0 {
		t.Errorf("a note without a reason: %q, %v", p.Notes, err)
	}
}

func TestRefreshPlansNamedServices(t *testing.T) {
	nine := running(twoReleases(), "v0.9", "cp-01")
	some := withoutServices(nine, "rest-server")
	foreign := withoutServices(nine)
	foreign.World.Services["unknown"] = Installed{Release: "v0.9", Ready: true}
	nothing := withoutServices(nine, "kueue", "jobset", "rest-server", "storage", "old-exporter")
	outage := nine
	outage.World.APIReachable, outage.World.APIError = false, "connection refused"
	noBundle := nine
	noBundle.Services = map[pai.ServicesVersion][]ServiceSpec{}
	for _, c := range []struct {
		name            string
		in              Input
		names           []string
		want, err, next string
		code            pai.Code
	}{
		{"all that run, prerequisites first", nine, nil, "kueue jobset old-exporter rest-server storage", "", "", ""},
		{"only those that run", some, nil, "kueue jobset old-exporter storage", "", "", ""},
		{"only those named, not what they need", nine, []string{"rest-server"}, "rest-server", "", "", ""},
		{"what the release does not have is left alone", foreign, nil, "kueue jobset old-exporter rest-server storage", "", "", ""},
		{"one that does not run", some, []string{"rest-server"}, "", "rest-server does not run", "paictl service start rest-server", pai.CodeRefused},
		{"an unknown one", nine, []string{"nope"}, "", `service "nope" not found`, "name one of the services", pai.CodeUsage},
		{"nothing runs", nothing, nil, "", "no running service", "paictl service start", pai.CodeRefused},
		{"API outage", outage, nil, "", "connection refused", "paictl cluster status", pai.CodeFailed},
		{"no Kubernetes", input(bare("cp-01"), twoReleases()), nil, "", "no Kubernetes", "k8s-bootup", pai.CodeRefused},
		{"no bundle", noBundle, nil, "", "does not have its bundle", "paictl release build v0.9", pai.CodeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Refresh(c.in, c.names, "v0.9")
			if c.err != "" {
				wantError(t, err, c.code, c.err, c.next)
				return
			}
			if err != nil || targets(p, KindRefresh) != c.want || len(p.Steps) != len(strings.Fields(c.want)) {
				t.Errorf("steps for %q, want %q; %v", targets(p, KindRefresh), c.want, err)
			}
		})
	}
}

// What is not in line is brought there after what it needs, also where a
// service between them is in line.
func TestRefreshAfterPruneKeepsOrder(t *testing.T) {
	p, err := Refresh(running(twoReleases(), "v0.9", "cp-01"), nil, "v0.9")
	if err != nil {
		t.Fatal(err)
	}
	p = p.Prune(map[StepID]bool{"services/refresh/jobset": true, "services/refresh/storage": true, "services/refresh/old-exporter": true})
	if len(p.Steps) != 2 || p.Steps[1].Target != "rest-server" || len(p.Steps[1].After) != 1 || p.Steps[1].After[0] != "services/refresh/kueue" {
		t.Errorf("the steps are %+v", p.Steps)
	}
}

// Services in the data path have their risk, and a note names the machines that
// lack images.
func TestRefreshMarksDataPathAndMissingImages(t *testing.T) {
	in := running(twoReleases(), "v0.9", "cp-01", "gpu-01")
	in.World.Machines[1].Images = nil
	p, err := Refresh(in, nil, "v0.9")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range p.Steps {
		if want := s.Target == "storage"; (s.Risk == pai.RiskDataPath) != want {
			t.Errorf("%s has risk %s", s.ID, s.Risk)
		}
	}
	if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, "machine gpu-01 lacks images of release v0.9") || strings.Contains(notes, "cp-01") {
		t.Errorf("the notes are %q", notes)
	}
}
