package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// kubeProxyFiles are kube-proxy's script and configuration.
func kubeProxyFiles(cfg *config.Config, m config.Machine, v pai.KubernetesVersion) (map[string]preparedFile, error) {
	file := layout.VersionFile(v, "kube-proxy.yaml")
	data, err := documents(map[string]any{
		"apiVersion":         "kubeproxy.config.k8s.io/v1alpha1",
		"kind":               "KubeProxyConfiguration",
		"mode":               "nftables",
		"clusterCIDR":        cfg.Kubernetes.PodClusterIPRange,
		"hostnameOverride":   m.Hostname,
		"healthzBindAddress": fmt.Sprintf("127.0.0.1:%d", layout.KubeProxyHealthPort),
		"metricsBindAddress": fmt.Sprintf("127.0.0.1:%d", layout.KubeProxyMetricsPort),
		"nodePortAddresses":  []string{"primary"},
		"clientConnection":   map[string]any{"kubeconfig": layout.KubeProxyConf},
		// 0 leaves the kernel's settings alone, which a network namespace may not change.
		"conntrack": map[string]any{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	})
	if err != nil {
		return nil, err
	}
	return map[string]preparedFile{
		file:                                    {string(data), 0o644},
		layout.RunScript(v, plan.RoleKubeProxy): {script(v, plan.RoleKubeProxy, "kube-proxy", flags{"--config=" + file}), 0o755},
	}, nil
}

// removeNewerRules ends a newer kube-proxy and its rules before an older one starts,
// which does not fill again the chains that it finds there. What is connected
// stays connected; for about a second new connections to service addresses
// are not made.
func removeNewerRules(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, `systemctl stop %s
for family in ip ip6; do nft delete table $family kube-proxy 2>/dev/null || :; done`, layout.Unit(plan.RoleKubeProxy))
	if err != nil {
		return fmt.Errorf("remove the newer kube-proxy's rules on %q: %w", h.Name(), err)
	}
	return nil
}
