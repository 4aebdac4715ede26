package plan

import (
	"maps"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestExpectedGaps(t *testing.T) {
	t.Parallel()
	p := Plan{From: pai.Pair{Kubernetes: "v0.10-pai"}, Steps: []Step{
		{ID: "a", Kind: KindRole, Role: RoleRuntime, Target: "m1", From: "v0.10-pai", To: "v0.11-pai"},
		{ID: "b", Kind: KindKubelet, Target: "m1", From: "v0.10-pai", To: "v0.11-pai"},
		{ID: "c", Kind: KindKubelet, Target: "m2", From: "v0.10-pai", To: "v0.11-pai"},
		{ID: "d", Kind: KindKubelet, Target: "m3", To: "v0.11-pai"},                                      // joins
		{ID: "e", Kind: KindRole, Role: RoleKubeProxy, Target: "m4", From: "v0.10-pai", To: "v0.11-pai"}, // starts nothing
		{ID: "f", Kind: KindService, Target: "kueue", From: "v0.10", To: "v0.11"},
		{ID: "g", Kind: KindService, Target: "jobset", To: "v0.11"}, // for the first time
		{ID: "h", Kind: KindService, Target: "rest-server", From: "v0.10", To: "v0.11"},
		{ID: "i", Kind: KindAPIServer, From: "v0.10-pai", To: "v0.11-pai"},
	}}
	got := ExpectedGaps(p)
	want := map[string]float64{"m1": runtimeStartSeconds + kubeletStartSeconds, "m2": kubeletStartSeconds}
	if !maps.Equal(got.StartSeconds, want) || got.AdmissionSeconds != controllerSeconds || got.SubmissionSeconds != controllerSeconds {
		t.Errorf("got %+v, want starts %v", got, want)
	}
	text := Text(p, nil)
	for _, want := range []string{"New jobs: none can be submitted for up to 2 s, and none is admitted for up to 2 s", "New containers: none starts on a machine for up to", "on 2 machines"} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %q", text, want)
		}
	}
	if text := gapsText(Plan{Steps: p.Steps[6:]}); text != "" {
		t.Errorf("got %q for steps without gaps", text)
	}
}
