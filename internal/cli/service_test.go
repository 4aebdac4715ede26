package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func refreshPlan() (plan.Plan, map[plan.StepID][]plan.StepDiff) {
	p := plan.Plan{Verb: pai.VerbRefresh, Hops: []plan.Hop{}, Steps: []plan.Step{
		{ID: "services/refresh/a", Kind: plan.KindRefresh, Target: "a", Risk: pai.RiskNone},
		{ID: "services/refresh/b", Kind: plan.KindRefresh, Target: "b", Risk: pai.RiskNone}}}
	return p, map[plan.StepID][]plan.StepDiff{
		"services/refresh/b": {{What: "DaemonSet n/b", Action: plan.Changed, Restarts: true, Note: "its pods are replaced"}},
		"services/refresh/a": {{What: "Service n/a", Action: plan.Changed}, {What: "Deployment n/a", Action: plan.Changed, Restarts: true}},
	}
}

// The plan of a refresh lists what it would restart, even if that is nothing.
func TestRefreshPlanListsRestarts(t *testing.T) {
	p, changes := refreshPlan()
	text := func(changes map[plan.StepID][]plan.StepDiff) string {
		var b strings.Builder
		v := planView{Plan: p, Changes: changes, WouldRestart: plan.Restarts(p, changes)}
		if err := ui.Text(&b, func(page *ui.Page) { v.write(page, operation.Preview{Plan: p}) }); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := text(changes); !strings.Contains(got, "changed  Service n/a\n") || !strings.HasSuffix(got, "\nWould restart Deployment n/a, DaemonSet n/b.\n") {
		t.Errorf("got:\n%s", got)
	}
	none := map[plan.StepID][]plan.StepDiff{"services/refresh/a": changes["services/refresh/a"][:1]}
	if got := text(none); !strings.HasSuffix(got, "\nWould restart nothing.\n") {
		t.Errorf("got:\n%s", got)
	}
	for _, c := range []struct {
		view planView
		want string
	}{
		{planView{Plan: p, WouldRestart: plan.Restarts(p, none)}, `"wouldRestart":[]`},
		{planView{Plan: p, WouldRestart: plan.Restarts(p, changes)}, `"wouldRestart":["Deployment n/a","DaemonSet n/b"]`},
	} {
		data, err := json.Marshal(c.view)
		if err != nil || !strings.Contains(string(data), c.want) {
			t.Errorf("%s, %v; want %s in it", data, err, c.want)
		}
	}
	if data, err := json.Marshal(planView{Plan: p}); err != nil || strings.Contains(string(data), "wouldRestart") {
		t.Errorf("got %s, %v; want no wouldRestart", data, err)
	}
}

// If nothing has to be refreshed, the output states that and includes the notes of
// the plan.
func TestRefreshOfNothing(t *testing.T) {
	var b strings.Builder
	p := plan.Plan{Verb: pai.VerbRefresh, Hops: []plan.Hop{}, Notes: []string{"the configuration names release v0.10"}}
	if err := ui.Text(&b, func(page *ui.Page) { planView{Plan: p}.writeBefore(page, operation.Preview{Plan: p}) }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Note: the configuration names release v0.10.", "nothing to do", "nothing restarted"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got no %q in: %s", want, b.String())
		}
	}
}
