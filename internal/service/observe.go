package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// observeTimeout bounds how long the objects of a service are asked for while the API
// server answers. It cannot convert those of Kueue while no pod of Kueue runs, for
// example after its machine died, and an operator does not wait minutes for that.
const observeTimeout = 20 * time.Second

// Observe returns the services in the cluster by name, without stopped ones.
func Observe(ctx context.Context, client *kube.Client) (map[string]plan.Installed, error) {
	inventories, err := client.Inventories(ctx)
	if err != nil {
		return nil, err
	}
	services := map[string]plan.Installed{}
	for name, inv := range inventories {
		service, ok := strings.CutPrefix(name, inventoryPrefix)
		if !ok || inv.State == kube.InventoryStopped {
			continue
		}
		installed, err := observe(ctx, client, inv)
		if err != nil {
			return nil, fmt.Errorf("observe service %s: %w", service, err)
		}
		services[service] = installed
	}
	return services, nil
}

func observe(ctx context.Context, client *kube.Client, inv *kube.Inventory) (plan.Installed, error) {
	installed := plan.Installed{Release: pai.ServicesVersion(inv.Record[recordRelease])}
	unready, err := client.WithRetryTimeout(observeTimeout).Unready(ctx, inv.Objects)
	if err != nil && !kube.NotConverted(err) {
		return installed, err
	}
	switch {
	case err != nil:
		installed.Message = "its objects cannot be read: " + err.Error()
	case len(unready) == 1:
		installed.Message = unready[0].String()
	case len(unready) > 1:
		installed.Message = fmt.Sprintf("%s; and %d more", unready[0], len(unready)-1)
	case inv.State == kube.InventoryApplying || inv.Record[recordHash] == "":
		installed.Message = "the last change is incomplete"
	default:
		installed.Ready = true
	}
	return installed, nil
}
