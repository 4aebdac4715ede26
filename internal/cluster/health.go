package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/plan"
)

// Health asks a role of a machine for its health, as the steps do. It needs only
// the configuration and the machines of Deps.
func Health(ctx context.Context, d Deps, m config.Machine, r plan.Role) error {
	h := d.Hosts[m.Hostname]
	if h == nil {
		return fmt.Errorf("machine %q is unreachable", m.Hostname)
	}
	return (&cluster{Deps: d}).healthy(ctx, h, r)
}
