package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// AdminKubeconfig is the administrator's kubeconfig, for use from outside of
// the machines: its server is https://<address>:<the API's port>. It is read
// anew each time, because certificates are renewed.
func AdminKubeconfig(ctx context.Context, host machine.Host, address string) ([]byte, error) {
	data, err := host.ReadFile(ctx, layout.AdminConf)
	if err != nil {
		return nil, fmt.Errorf("read the administrator's kubeconfig on %q: %w", host.Name(), err)
	}
	return atAddress(data, address)
}

// atAddress replaces the name of the API, which only machines know, in a
// kubeconfig. What the API server's certificate says is checked all the same:
// it carries the address as well.
func atAddress(kubeconfig []byte, address string) ([]byte, error) {
	edited, err := withServer(kubeconfig, func(server string) (string, error) { return withHost(server, address) })
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the administrator: %w", err)
	}
	return edited, nil
}
