package cluster

import (
	"context"
	"fmt"
	"sync"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// Seed is the control-plane machine that stands for all where there are several: the cluster
// is seen and changed through it, and the others get its keys. It is the first in the layout
// whose API server runs, else the first that has one, else the first that has the data of etcd.
// If none has any, it is the first in the layout, reachable or not: it might have the cluster.
// A single control-plane machine is not asked.
func Seed(ctx context.Context, cfg *config.Config, hosts map[string]machine.Host) (config.Machine, error) {
	all := cfg.ControlPlanes()
	if len(all) < 2 {
		return cfg.ControlPlane(), nil
	}
	found, failed := make([]string, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for i, m := range all {
		if h := hosts[m.Hostname]; h != nil {
			wg.Go(func() { found[i], failed[i] = clusterPartsOn(ctx, h) })
		}
	}
	wg.Wait()
	for _, part := range []string{runsAPIServer, hasAPIServer, hasEtcdData} {
		for i, m := range all {
			if found[i] == part {
				return m, nil
			}
		}
	}
	for _, err := range failed {
		if err != nil {
			return all[0], err
		}
	}
	return all[0], nil
}

// What a machine has of a cluster.
const (
	runsAPIServer = "running API server"
	hasAPIServer  = "API server"
	hasEtcdData   = "etcd data"
)

func clusterPartsOn(ctx context.Context, h machine.Host) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, elsewhereTimeout, fmt.Errorf("no answer within %s", elsewhereTimeout))
	defer cancel()
	out, err := sh(ctx, h, `if systemctl is-active -q %[1]s || systemctl is-active -q %[2]s; then echo '%[3]s'
elif [ -L %[4]s ] || [ -L %[5]s ]; then echo '%[6]s'
elif [ -e %[7]s ] || [ -e %[8]s ]; then echo '%[9]s'; fi`,
		layout.Unit(layout.RoleAPIServerA), layout.Unit(layout.RoleAPIServerB), runsAPIServer,
		layout.RoleLink(layout.RoleAPIServerA), layout.RoleLink(layout.RoleAPIServerB), hasAPIServer,
		layout.SlotA.EtcdDatabase(), layout.SlotB.EtcdDatabase(), hasEtcdData)
	if err != nil {
		return "", fmt.Errorf("look for the cluster on control-plane machine %q: %w", h.Name(), err)
	}
	return out, nil
}
