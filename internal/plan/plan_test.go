package plan

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

// A plan that was executed leaves nothing to plan, wherever an earlier run was
// interrupted.
func TestPlanConvergesFromAnyInterruption(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		goal := drawGoal(t, in)
		p, err := goal(in)
		if err != nil {
			t.Skip("no plan")
		}
		order := linear(t, p)
		cut := rapid.IntRange(0, len(order)).Draw(t, "killed after")
		in.World = in.After(in.World, order[:cut])
		in.World.APIReachable = true

		rest, err := goal(in)
		if err != nil {
			t.Fatalf("planning again after %d of %d steps: %v", cut, len(order), err)
		}
		if err := rest.Validate(); err != nil {
			t.Fatal(err)
		}
		first := map[StepID]bool{}
		for _, s := range p.Steps {
			first[s.ID] = true
		}
		for _, s := range rest.Steps {
			if !first[s.ID] {
				t.Fatalf("after %d steps %s is planned, which was not in the first plan", cut, s.ID)
			}
		}
		in.World = in.After(in.World, rest.Steps)
		if in.World.Current.Kubernetes != p.To.Kubernetes || in.World.Current.Services != p.To.Services {
			t.Fatalf("ended at %s, want %s", in.World.Current, p.To)
		}
		again, err := goal(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range again.Steps {
			if p.Verb == pai.VerbUpgrade || !slices.Contains([]Kind{KindBootstrap, KindDNS, KindRecord}, s.Kind) {
				t.Fatalf("%s is planned when all is done", s.ID)
			}
		}
	})
}

func TestValidateReportsAllFaults(t *testing.T) {
	p := Plan{Steps: []Step{
		{ID: "a", Kind: KindDNS, After: []StepID{"b"}},
		{ID: "b", Kind: KindDNS, After: []StepID{"a"}},
		{ID: "b", Kind: KindDNS, After: []StepID{"gone"}},
		{ID: "c"},
	}}
	err := p.Validate()
	if err == nil {
		t.Fatal("a plan with four faults is valid")
	}
	for _, want := range []string{`"a" waits for "b"`, `"b" waits for "gone"`, `duplicate step "b"`, `"c"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
	if err := (Plan{Steps: []Step{{ID: "a", Kind: KindDNS}, {ID: "b", Kind: KindDNS, After: []StepID{"a"}}}}).Validate(); err != nil {
		t.Error(err)
	}
}
