package cluster

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// endpointAddress is the address of the endpoints of the service "kubernetes". With several
// control-plane machines it is the API address, which every machine has: the endpoints then
// never change, and the proxy of the machine of a pod finds an API server that is ready. m
// is the control-plane machine of the step.
func endpointAddress(cfg *config.Config, m config.Machine) string {
	if cfg.SeveralControlPlanes() {
		return cfg.Kubernetes.APIAddress
	}
	return m.HostIP
}

// UsesAPIAddress reports whether pods reach the API at the API address.
func UsesAPIAddress(ctx context.Context, k *kube.Client, cfg *config.Config) (bool, error) {
	addresses, err := endpoints(ctx, k)
	return slices.Equal(addresses, []string{cfg.Kubernetes.APIAddress}), err
}

// endpoints are the addresses at which pods reach the API; none before the first boot.
func endpoints(ctx context.Context, k *kube.Client) ([]string, error) {
	slice, err := k.Clientset().DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the endpoints of the API: %w", err)
	}
	var addresses []string
	for _, e := range slice.Endpoints {
		addresses = append(addresses, e.Addresses...)
	}
	return addresses, nil
}

// proxyAddresses are the addresses at which the programs and pods of a machine reach its proxy.
func proxyAddresses(cfg *config.Config) []string {
	if cfg.SeveralControlPlanes() {
		return []string{"127.0.0.1", cfg.Kubernetes.APIAddress}
	}
	return []string{"127.0.0.1"}
}

// withAPIAddress is the unit of the API proxy of a cluster with several control-plane
// machines: it adds the API address to the loopback interface, also after a reboot. A proxy
// that is replaced keeps it. With the scope "host", the kernel never chooses it as the source
// of a packet to another machine. The program itself has no rights for that ("+"), and serves
// the loopback address also if it fails ("-").
func (o unitOptions) withAPIAddress(cfg *config.Config) unitOptions {
	if o.role != plan.RoleAPIProxy || !cfg.SeveralControlPlanes() {
		return o
	}
	o.service = append([]string{fmt.Sprintf("ExecStartPre=-+/sbin/ip address replace %s/32 dev lo scope host label %s",
		cfg.Kubernetes.APIAddress, layout.APIAddressLabel)}, o.service...)
	return o
}
