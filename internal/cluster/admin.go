package cluster

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// AdminKubeconfig is a kubeconfig for an operator, for use outside of the machines. Its
// server is https://<address>:<port of the API>. Its certificate has the name of the
// operator and ends after certs.OperatorLife: the administrator's own stays on the
// machine. Each call makes another, because a cluster can be booted again under the
// same name.
func AdminKubeconfig(ctx context.Context, host machine.Host, address, operator string) ([]byte, error) {
	data, err := certs.OperatorKubeconfig(func(public []byte) ([]byte, error) {
		report, err := helper.Inspect(ctx, host, inspect.Request{Parts: []inspect.Part{inspect.Operator}, Operator: operator, PublicKey: public}, inspect.Operator)
		return report.Issued, err
	})
	if err != nil {
		return nil, fmt.Errorf("make a certificate for operator %q: %w", operator, err)
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

// AtAnyControlPlane verifies the API server of a kubeconfig by the name of the API, which the
// certificate of each API server contains: a connection can go to any of several.
func AtAnyControlPlane(kubeconfig []byte) ([]byte, error) {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig of the administrator: %w", err)
	}
	for _, one := range config.Clusters {
		one.TLSServerName = layout.APIName
	}
	return clientcmd.Write(*config)
}
