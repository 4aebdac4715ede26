package operation

import (
	"context"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// What the witness and the cordons start from was observed with the lock held.
func TestPlanAgainKeepsWhatItObserved(t *testing.T) {
	t.Parallel()
	f := newFlow(t, "a")
	o := newOperation(f.Session, &deletions{flow: f, volumes: []string{"a"}}, RunOptions{})
	for _, do := range []func(context.Context) error{o.observe, o.makePlan} {
		if err := do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	o.preview.world.APIError = "observed before the lock"
	if err := o.planAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o.preview.world.APIError == "observed before the lock" {
		t.Error("got the state of before the lock, want the new one")
	}
}

// recovering is a goal that finds a service of the wanted release not ready at first.
type recovering struct{ *deletions }

func (g recovering) Plan(in plan.Input) (plan.Plan, error) {
	p, err := g.deletions.Plan(in)
	if g.plans == 1 {
		p.Steps = append(p.Steps, plan.Step{ID: "services/v0.10/kueue", Kind: plan.KindService, Target: "kueue",
			From: "v0.10", To: "v0.10", Risk: pai.RiskNone})
	}
	return p, err
}

func TestPlanAgainLeavesOutServicesThatBecameReady(t *testing.T) {
	t.Parallel()
	f := newFlow(t, "a")
	o := newOperation(f.Session, recovering{&deletions{flow: f, volumes: []string{"a"}}}, RunOptions{})
	for _, do := range []func(context.Context) error{o.observe, o.makePlan, o.planAgain} {
		if err := do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if steps := o.preview.Plan.Steps; len(steps) != 1 || steps[0].ID != "volume/a" {
		t.Errorf("got steps %v, want the one that is still needed", steps)
	}
}
