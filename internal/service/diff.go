package service

import (
	"context"
	"time"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// diffPatience is how long a comparison tries an API that does not answer: it
// is shown while somebody waits.
const diffPatience = 10 * time.Second

// Diff says what applying the service would change.
func (d starter) Diff(ctx context.Context, s plan.Step) ([]plan.Change, error) {
	want, err := d.wanted(ctx, s)
	if err != nil {
		return nil, err
	}
	client, err := d.client(ctx)
	if err != nil {
		return nil, err
	}
	return client.WithRetryTimeout(diffPatience).Diff(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + s.Target, Prune: true})
}

// Diff lists what stopping the service would delete.
func (d stopper) Diff(ctx context.Context, s plan.Step) ([]plan.Change, error) {
	client, err := d.client(ctx)
	if err != nil {
		return nil, err
	}
	going, err := client.WithRetryTimeout(diffPatience).Deletable(ctx, inventoryPrefix+s.Target, keeps(s.Wipe))
	if err != nil {
		return nil, err
	}
	var changes []plan.Change
	for _, r := range going {
		changes = append(changes, plan.Change{What: r.String(), Action: plan.Deleted})
	}
	return changes, nil
}
