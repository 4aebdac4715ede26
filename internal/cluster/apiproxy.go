package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// proxyConfig is /etc/pai/api-proxy.json, which pai-proxy reads.
type proxyConfig struct {
	Listen     []string       `json:"listen"`
	Serve      []string       `json:"serve,omitempty"` // for the proxies of other machines
	CA         string         `json:"ca"`
	ServerName string         `json:"serverName"`
	Backends   []proxyBackend `json:"backends"`
}

type proxyBackend struct {
	Address  string `json:"address"`
	Draining bool   `json:"draining,omitempty"`
	Remote   bool   `json:"remote,omitempty"` // the proxy of another machine
}

// proxyConfigFor is the configuration of the proxy on a machine. On a control-plane
// machine it has both slots of the API server, and listens on the address that
// the other machines use. draining, if any, gets no new connections. With several
// control-plane machines, it also has the others, and listens on the API address.
func proxyConfigFor(cfg *config.Config, m config.Machine, draining *layout.Slot) proxyConfig {
	at := func(address string) string { return fmt.Sprintf("%s:%d", address, cfg.Kubernetes.APIServersPort) }
	p := proxyConfig{Listen: []string{at("127.0.0.1")}, CA: layout.CAFile, ServerName: layout.APIName}
	several := cfg.SeveralControlPlanes()
	if several {
		p.Listen = append(p.Listen, at(cfg.Kubernetes.APIAddress))
	}
	if m.IsControlPlane() {
		if several {
			p.Serve = []string{at(m.HostIP)}
		} else {
			p.Listen = append(p.Listen, at(m.HostIP))
		}
		for _, s := range layout.Slots() {
			p.Backends = append(p.Backends, proxyBackend{
				Address:  fmt.Sprintf("127.0.0.1:%d", s.APIServerPort),
				Draining: draining != nil && *draining == s,
			})
		}
	}
	for _, other := range cfg.ControlPlanes() {
		if other.Hostname != m.Hostname {
			p.Backends = append(p.Backends, proxyBackend{Address: at(other.HostIP), Remote: several})
		}
	}
	return p
}

func proxyFile(cfg *config.Config, m config.Machine, draining *layout.Slot) ([]byte, error) {
	return json.MarshalIndent(proxyConfigFor(cfg, m, draining), "", "  ")
}

func (c *cluster) writeProxyConfig(ctx context.Context, h machine.Host, m config.Machine, draining *layout.Slot) error {
	data, err := proxyFile(c.Config, m, draining)
	if err != nil {
		return err
	}
	return writeProxyFile(ctx, h, data)
}

// unmountReleased ends the replacement of a proxy that left releasedFile mounted over the
// configuration: paictl was killed meanwhile, or the unit of the replacement was.
const unmountReleased = `if grep -q ' ` + layout.APIProxyFile + ` ' /proc/self/mounts; then
  systemctl stop -q ` + layout.APIProxyReplaceUnit + ` 2>/dev/null || true
  umount -l ` + layout.APIProxyFile + ` 2>/dev/null || true
fi`

// writeProxyFile writes the configuration of the proxy. No file can replace one over which
// another is mounted.
func writeProxyFile(ctx context.Context, h machine.Host, data []byte) error {
	if _, err := sh(ctx, h, "%s", unmountReleased); err != nil {
		return fmt.Errorf("look for a mount over %s on %q: %w", layout.APIProxyFile, h.Name(), err)
	}
	return h.WriteFile(ctx, layout.APIProxyFile, data, 0o644)
}
