package service

import (
	"context"
	"slices"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// refresher applies the configuration to a service, at the release that it has.
type refresher struct{ starter }

// Done is true if the service matches the configuration and applying it again
// would change nothing, in the cluster and before it. Readiness does not matter: a refresh
// would not change it.
func (d refresher) Done(ctx context.Context, s plan.Step) (bool, error) {
	if ok, err := d.prepared(ctx, s.Target); err != nil || !ok {
		return false, err
	}
	want, client, applied, err := d.compare(ctx, s)
	if err != nil || !applied {
		return false, err
	}
	changes, err := client.Diff(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + s.Target, Prune: true})
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(changes, func(c plan.StepDiff) bool { return c.Action != plan.Kept }), nil
}

// Do applies the service like a start. It restarts only workloads whose pod
// template changes.
func (d refresher) Do(ctx context.Context, s plan.Step) error {
	return d.apply(ctx, s, func(changes kube.ChangeSet) error {
		if d.Refreshed == nil {
			return nil
		}
		return d.Refreshed(ctx, s.Target, changes)
	})
}
