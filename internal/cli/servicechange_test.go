package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/upgrade"
)

func refreshPlan() (plan.Plan, map[plan.StepID][]plan.Change) {
	p := plan.Plan{Verb: pai.VerbRefresh, Hops: []plan.Hop{}, Steps: []plan.Step{
		{ID: "services/refresh/a", Kind: plan.KindRefresh, Target: "a", Risk: pai.RiskNone},
		{ID: "services/refresh/b", Kind: plan.KindRefresh, Target: "b", Risk: pai.RiskNone}}}
	return p, map[plan.StepID][]plan.Change{
		"services/refresh/b": {{What: "DaemonSet n/b", Action: plan.Changed, Restarts: true, Note: "its pods are replaced"}},
		"services/refresh/a": {{What: "Service n/a", Action: plan.Changed}, {What: "Deployment n/a", Action: plan.Changed, Restarts: true}},
	}
}

// The plan of a refresh says what it would restart, also that it is nothing.
func TestRefreshForetellsRestarts(t *testing.T) {
	p, changes := refreshPlan()
	text := func(changes map[plan.StepID][]plan.Change) string {
		var b strings.Builder
		v := planView{Plan: p, Changes: changes, WouldRestart: plan.Restarts(p, changes)}
		if err := v.write(&b, upgrade.Preview{Plan: p}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := text(changes); !strings.Contains(got, "changed  Service n/a\n") || !strings.HasSuffix(got, "\nWould restart Deployment n/a, DaemonSet n/b.\n") {
		t.Errorf("it says:\n%s", got)
	}
	none := map[plan.StepID][]plan.Change{"services/refresh/a": changes["services/refresh/a"][:1]}
	if got := text(none); !strings.HasSuffix(got, "\nWould restart nothing.\n") {
		t.Errorf("it says:\n%s", got)
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
		t.Errorf("another plan speaks of restarts: %s, %v", data, err)
	}
}

// The report of a refresh says what changed and what was restarted.
func TestRefreshReport(t *testing.T) {
	report := func(op pai.Operation) string {
		var b strings.Builder
		if err := writeReport(&b, op); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	op := pai.Operation{Verb: pai.VerbRefresh, Refreshed: []pai.ServiceChanges{
		{Service: "a", Objects: []pai.ObjectChange{{Object: "Service n/a", Action: "configured"}, {Object: "ConfigMap n/old", Action: "deleted"}}},
		{Service: "b", Restarted: []string{"DaemonSet n/b"}}}}
	for _, want := range []string{"  configured    Service n/a\n", "  deleted       ConfigMap n/old\n", "  restarted     DaemonSet n/b\n"} {
		if got := report(op); !strings.Contains(got, want) {
			t.Errorf("the report has no line %q:\n%s", want, got)
		}
	}
	op.Refreshed = op.Refreshed[:1]
	if got := report(op); !strings.Contains(got, "  restarted     nothing\n") {
		t.Errorf("it does not say that nothing was restarted:\n%s", got)
	}
	if got := report(pai.Operation{Verb: pai.VerbUpgrade}); strings.Contains(got, "restarted") {
		t.Errorf("an upgrade's report speaks of restarts:\n%s", got)
	}
}

// Where nothing is to be refreshed, that and the plan's notes are said.
func TestRefreshOfNothing(t *testing.T) {
	var b strings.Builder
	env := &Env{Err: &b}
	p := plan.Plan{Verb: pai.VerbRefresh, Hops: []plan.Hop{}, Notes: []string{"the configuration names release v0.10"}}
	if err := showBeforeDoing(env, newProgress(env), planView{Plan: p}, upgrade.Preview{Plan: p}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Note: the configuration names release v0.10.", "nothing to do", "nothing restarted"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not said: %s", want, b.String())
		}
	}
}
