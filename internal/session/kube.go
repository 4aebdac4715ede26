package session

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/kube"
)

// kubeClient makes one client. A caller that waits for another one to make it
// leaves when its own context ends, because making it needs ssh.
type kubeClient struct {
	once   sync.Once
	turn   chan struct{} // has one element while a caller makes the client
	client *kube.Client
	// until is when the identity of the client is too old for another caller; zero if
	// it does not end.
	until time.Time
}

func (k *kubeClient) get(ctx context.Context, dial func(context.Context) (*kube.Client, error)) (*kube.Client, error) {
	k.once.Do(func() { k.turn = make(chan struct{}, 1) })
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to the API: %w", context.Cause(ctx))
	}
	defer func() { <-k.turn }()
	if k.client != nil && (k.until.IsZero() || time.Now().Before(k.until)) {
		return k.client, nil
	}
	client, err := dial(ctx)
	if err != nil {
		if k.client != nil {
			return k.client, nil // its identity lasts for hours
		}
		return nil, err
	}
	k.client, k.until = client, time.Now().Add(certs.OperatorLife/3)
	return client, nil
}

// dialKube makes a kubeconfig for the operator each time: its certificate does not
// live long, and a cluster can be booted again under the same name.
func (s *Session) dialKube(ctx context.Context) (*kube.Client, error) {
	host, err := s.ControlPlane()
	if err != nil {
		return nil, err
	}
	data, err := cluster.AdminKubeconfig(ctx, host, s.Seed().HostIP, Operator())
	if err == nil && s.Config.SeveralControlPlanes() {
		data, err = cluster.AtAnyControlPlane(data)
	}
	if err != nil {
		return nil, err
	}
	s.storeKubeconfig(data)
	client, err := kube.FromKubeconfigOver(data, newAPIDialer(host, s.apiAddresses(), s.Progressf).dial)
	if err != nil {
		return nil, fmt.Errorf("use the administrator's kubeconfig: %w", err)
	}
	return client, nil
}

// apiAddresses are the addresses of the API on all control-plane machines.
func (s *Session) apiAddresses() []string {
	var addresses []string
	for _, m := range s.Config.ControlPlanes() {
		addresses = append(addresses, net.JoinHostPort(m.HostIP, strconv.Itoa(s.Config.Kubernetes.APIServersPort)))
	}
	return addresses
}

// storeKubeconfig stores the kubeconfig for kubectl; paictl does not read it. So a state
// directory that cannot be written does not keep an operator from looking at the cluster.
func (s *Session) storeKubeconfig(data []byte) {
	file := filepath.Join(s.ClusterDir(), "admin.conf")
	err := os.MkdirAll(s.ClusterDir(), 0o700)
	if err == nil {
		err = atomicfile.Write(file, data, 0o600)
	}
	if err != nil {
		s.Progressf("the kubeconfig for kubectl was not renewed: %v", err)
	}
}
