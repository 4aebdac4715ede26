package operation

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Preview is a plan with the running jobs that each step could touch.
type Preview struct {
	Plan   plan.Plan
	Impact map[plan.StepID][]pai.JobRef
	// Revision is that of the configuration which it applies; nil where it
	// applies none.
	Revision *AppliedRevision

	consequences consequences
	world        plan.World // that it was planned from
}

// preview observes, plans, and finds the jobs that each step could touch.
func (s *operation) preview(ctx context.Context, goal Goal) (Preview, plan.World, error) {
	world, err := s.observe(ctx)
	if err != nil {
		return Preview{}, world, err
	}
	p, err := goal.Plan(world)
	if err != nil {
		return Preview{}, world, err
	}
	p.Verb = goal.Verb
	if goal.look {
		if p, err = s.skipDone(ctx, p); err != nil {
			return Preview{}, world, err
		}
	}
	if err := p.Validate(); err != nil {
		return Preview{}, world, fmt.Errorf("the plan contradicts itself: %w", err)
	}
	shown := Preview{Plan: p, Impact: guard.Impacts(p.Steps, world, s.impacts()), world: world}
	if goal.consequences == nil {
		return shown, world, nil
	}
	if shown.consequences, err = goal.consequences(ctx, p, world); err != nil {
		return Preview{}, world, err
	}
	shown.Plan.Notes = append(shown.Plan.Notes, shown.consequences.notes...)
	maps.Copy(shown.Impact, shown.consequences.touched)
	return shown, world, nil
}

// skipDone looks at every step of a plan, and leaves out those that are done.
// A step that cannot be looked at yet stays in.
func (s *operation) skipDone(ctx context.Context, p plan.Plan) (plan.Plan, error) {
	doers, err := s.doers(p)
	if err != nil {
		return p, err
	}
	var mu sync.Mutex
	done := map[plan.StepID]bool{}
	var group errgroup.Group
	group.SetLimit(limit)
	for _, step := range p.Steps {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, lookTimeout)
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
