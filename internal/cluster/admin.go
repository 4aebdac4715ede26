package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// AdminKubeconfig is the kubeconfig of the administrator for use outside of the
// machines. Its server is https://<address>:<port of the API>. It is read from
// the machine each time, because certificates are renewed.
func AdminKubeconfig(ctx context.Context, host machine.Host, address string) ([]byte, error) {
	data, err := host.ReadFile(ctx, layout.AdminConf)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the administrator on %q: %w", host.Name(), err)
	}
	return atAddress(data, address)
}

// atAddress replaces the name of the API, which only machines know, in a
// kubeconfig. The certificate of the API server is still verified, because it
// also contains the address.
func atAddress(kubeconfig []byte, address string) ([]byte, error) {
	edited, err := withServer(kubeconfig, func(server string) (string, error) { return withHost(server, address) })
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the administrator: %w", err)
	}
	return edited, nil
}
