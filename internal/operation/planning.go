package operation

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const (
	// maxParallel is how many independent steps run in parallel.
	maxParallel = 8
	// doneTimeout bounds how long one step can take to report whether it is done.
	doneTimeout = 30 * time.Second
)

// Preview is a plan with the running jobs that each step can affect.
type Preview struct {
	Plan   plan.Plan
	Impact map[plan.StepID][]pai.JobRef
	// Revision is the revision of the configuration that the plan applies; nil
	// if it applies none.
	Revision *AppliedRevision

	consequences consequences
	world        plan.World // that the plan was made from
}

// observe is the stage that reads the state of the cluster.
func (o *operation) observe(ctx context.Context) (err error) {
	o.preview.world, err = Observe(ctx, o.Session)
	return err
}

// makePlan is the stage that plans from the observed state.
func (o *operation) makePlan(ctx context.Context) (err error) {
	o.preview, err = o.planFrom(ctx, o.preview.world)
	return err
}

// planAgain is the stage that observes and plans again with the lock held. The
// operation runs the plan that was shown, so a different plan is refused. Services
// that became ready meanwhile are left out.
func (o *operation) planAgain(ctx context.Context) error {
	w, err := Observe(ctx, o.Session)
	if err != nil {
		return err
	}
	again, err := o.planFrom(ctx, w)
	if err != nil {
		return err
	}
	shown, ready := o.preview.Plan.WithoutReady(again.Plan.Steps)
	if changes := plan.StepChanges(shown.Steps, again.Plan.Steps); len(changes) > 0 {
		return plan.PlanChangedError("the cluster changed after the plan was shown", "run the command again to see the new plan", changes)
	}
	if len(ready) > 0 {
		o.Progressf("ready since the plan was shown, and left out: %s", strings.Join(ready, ", "))
	}
	o.preview.Plan = shown
	o.preview.Impact = again.Impact
	o.preview.world = w // what the witness and the cordons start from
	return nil
}

// planFrom plans from a state, and finds the jobs that each step can affect.
func (o *operation) planFrom(ctx context.Context, w plan.World) (Preview, error) {
	in, err := gather(ctx, o.Session, o.goal, w)
	if err != nil {
		return Preview{}, err
	}
	p, err := o.goal.Plan(in)
	if err != nil {
		return Preview{}, err
	}
	p.Verb = o.goal.Verb()
	if _, ok := o.goal.(repeating); ok {
		if p, err = o.skipDone(ctx, p); err != nil {
			return Preview{}, err
		}
	}
	if err := p.Validate(); err != nil {
		return Preview{}, fmt.Errorf("the plan is inconsistent: %w", err)
	}
	impacts, err := impactsOf(o.Session)
	if err != nil {
		return Preview{}, err
	}
	preview := Preview{Plan: p, Impact: guard.Impacts(p.Steps, w, impacts), world: w}
	if g, ok := o.goal.(consented); ok {
		if preview.consequences, err = g.Consequences(ctx, o.Session, p, w); err != nil {
			return Preview{}, err
		}
		preview.Plan.Notes = append(preview.Plan.Notes, preview.consequences.notes...)
		maps.Copy(preview.Impact, preview.consequences.affected)
	}
	if o.goal.Verb() == pai.VerbUpgrade {
		preview.Plan.Notes = append(preview.Plan.Notes, backupNotes(ctx, o.Session)...)
	}
	return preview, nil
}

// skipDone removes the steps of a plan that are done. A step that cannot be
// checked stays in the plan.
func (o *operation) skipDone(ctx context.Context, p plan.Plan) (plan.Plan, error) {
	doers, err := o.doers(p)
	if err != nil {
		return p, err
	}
	var mu sync.Mutex
	done := map[plan.StepID]bool{}
	var group errgroup.Group
	group.SetLimit(maxParallel)
	for _, step := range p.Steps {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, doneTimeout)
			defer cancel()
			ok, err := doers[step.Kind].Done(ctx, step)
			mu.Lock()
			defer mu.Unlock()
			done[step.ID] = ok && err == nil
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return p, err
	}
	return p.Prune(done), ctx.Err()
}
