package service

import (
	"context"
	"time"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// diffRetryTimeout is short, because the operator waits for the comparison.
const diffRetryTimeout = 10 * time.Second

// Diff lists what applying the service would change.
func (d starter) Diff(ctx context.Context, s plan.Step) ([]plan.StepDiff, error) {
	want, err := d.wanted(ctx, s)
	if err != nil {
		return nil, err
	}
	client, err := d.client(ctx)
	if err != nil {
		return nil, err
	}
	return client.WithRetryTimeout(diffRetryTimeout).Diff(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + s.Target, Prune: true})
}

// Diff lists what stopping the service would delete.
func (d stopper) Diff(ctx context.Context, s plan.Step) ([]plan.StepDiff, error) {
	client, err := d.client(ctx)
	if err != nil {
		return nil, err
	}
	going, err := client.WithRetryTimeout(diffRetryTimeout).Deletable(ctx, inventoryPrefix+s.Target, keeps(s.Wipe))
	if err != nil {
		return nil, err
	}
	var changes []plan.StepDiff
	for _, r := range going {
		changes = append(changes, plan.StepDiff{What: r.String(), Action: plan.Deleted})
	}
	return changes, nil
}
