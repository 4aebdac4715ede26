package check

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestContentStillToCopy(t *testing.T) {
	t.Parallel()
	to := twoReleases()[1]
	expect(t, []expectation{
		{"complete", contentOf(plan.MachineState{Programs: []pai.KubernetesVersion{"v0.10-pai"}, Images: []string{"sha256:x"}}, to, "sha256:x", 1<<30, 1<<30), OK, "is complete"},
		{"empty machine", contentOf(plan.MachineState{}, to, "sha256:x", 2<<30, 1<<30), OK, "programs of Kubernetes v0.10-pai (up to 2.0 GiB), images of release v0.10 (1.0 GiB)"},
	})
	w := &world{Input: Input{Target: to, Releases: twoReleases(), Plan: plan.Plan{Steps: []plan.Step{
		{Kind: plan.KindPrograms, To: "v0.9-pai"}, {Kind: plan.KindService, To: "v0.10"}, {Kind: plan.KindImages, To: "v0.9"}}}}}
	var names []string
	for _, v := range w.releases() {
		names = append(names, string(v))
	}
	if got := strings.Join(names, " "); got != "v0.10 v0.9" {
		t.Errorf("got bundles of %q", got)
	}
}
