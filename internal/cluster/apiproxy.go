package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// holdTimeout bounds how long the addresses of the API are held for a proxy that does
// not start.
const holdTimeout = 30 * time.Second

// holdAPIAddresses starts a unit that listens on the addresses of the API proxy from
// the moment in which the running proxy ends, and that passes the listeners to the next one.
// Without it, clients are refused for about 45 ms. The proxies of v0.10 and older would not
// ask for the listeners.
func (c *cluster) holdAPIAddresses(ctx context.Context, h machine.Host, v pai.KubernetesVersion) error {
	i, err := c.content(ctx, h, v)
	if err != nil {
		return err
	}
	if !contained(i.Upstream) {
		return nil
	}
	if _, err := h.Run(ctx, machine.Command{Script: holdScript(v)}); err != nil {
		return fmt.Errorf("hold the addresses of the API on %q while its proxy is replaced: %w", h.Name(), err)
	}
	return nil
}

// holdScript ends the holder of an earlier attempt and starts the one of this
// attempt. It returns when a proxy can ask for the listeners.
func holdScript(v pai.KubernetesVersion) string {
	return fmt.Sprintf(`systemctl stop -q %[1]s 2>/dev/null || true
systemd-run --quiet --collect --unit=%[1]s --property=Type=notify --property=TimeoutStartSec=10s \
  --property=User=nobody --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= --property=UMask=0077 \
  --property=OOMScoreAdjust=-999 --property=RuntimeDirectory=%[2]s \
  %[3]s --config=%[4]s --hold=%[5]s || { journalctl -q -o cat -n 6 -u %[1]s >&2; exit 1; }`,
		layout.APIProxyHoldUnit, layout.APIProxyRunName, path.Join(layout.VersionDir(v), "bin/api-proxy"), layout.APIProxyFile, holdTimeout)
}

// proxyConfig is /etc/pai/api-proxy.json, which pai-proxy reads.
type proxyConfig struct {
	Listen     []string       `json:"listen"`
	CA         string         `json:"ca"`
	ServerName string         `json:"serverName"`
	Backends   []proxyBackend `json:"backends"`
}

type proxyBackend struct {
	Address  string `json:"address"`
	Draining bool   `json:"draining,omitempty"`
}

// proxyConfigFor is the configuration of the proxy on a machine. On a control-plane
// machine it has both slots of the API server, and listens on the address that
// the other machines use. draining, if any, gets no new connections.
func proxyConfigFor(cfg *config.Config, m config.Machine, draining *layout.Slot) proxyConfig {
	port := cfg.Kubernetes.APIServersPort
	p := proxyConfig{Listen: []string{fmt.Sprintf("127.0.0.1:%d", port)}, CA: layout.CAFile, ServerName: layout.APIName}
	if !m.IsControlPlane() {
		p.Backends = []proxyBackend{{Address: fmt.Sprintf("%s:%d", cfg.ControlPlane().HostIP, port)}}
		return p
	}
	p.Listen = append(p.Listen, fmt.Sprintf("%s:%d", m.HostIP, port))
	for _, s := range layout.Slots() {
		p.Backends = append(p.Backends, proxyBackend{
			Address:  fmt.Sprintf("127.0.0.1:%d", s.APIServerPort),
			Draining: draining != nil && *draining == s,
		})
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
	return h.WriteFile(ctx, layout.APIProxyFile, data, 0o644)
}
