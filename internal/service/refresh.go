package service

import (
	"context"
	"slices"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// refresher brings one service in line with the configuration, at the release
// that it is of.
type refresher struct{ starter }

// Done is true when what the configuration gives is what was applied, to its
// end, and applying it again would change nothing in the cluster. Readiness is
// no part of it: a service that is in line needs no refresh, however it is.
func (d refresher) Done(ctx context.Context, s plan.Step) (bool, error) {
	want, client, applied, err := d.looked(ctx, s)
	if err != nil || !applied {
		return false, err
	}
	changes, err := client.Diff(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + s.Target, Prune: true})
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(changes, func(c plan.Change) bool { return c.Action != plan.Kept }), nil
}

// Do applies the service as a start does: only workloads whose pod template
// changes are restarted.
func (d refresher) Do(ctx context.Context, s plan.Step) error {
	return d.apply(ctx, s, func(changes kube.ChangeSet) error {
		if d.Refreshed == nil {
			return nil
		}
		return d.Refreshed(ctx, s.Target, changes)
	})
}
