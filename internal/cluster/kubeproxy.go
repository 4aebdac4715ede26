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

// kubeProxyFiles are the script and the configuration of kube-proxy.
func kubeProxyFiles(cfg *config.Config, m config.Machine, v pai.KubernetesVersion) (map[string]preparedFile, error) {
	file := layout.VersionFile(v, layout.KubeProxyConfigName)
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
		// 0 keeps the kernel settings, which a network namespace cannot change.
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

const deleteProxyRules = `for family in ip ip6; do nft delete table $family kube-proxy 2>/dev/null || :; done`

// removeNewerRules stops a newer kube-proxy and removes its rules before an older
// one starts, because the older one does not fill existing chains. Open
// connections stay; new ones to service addresses wait about a second.
func removeNewerRules(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, "systemctl stop %s\n"+deleteProxyRules, layout.Unit(plan.RoleKubeProxy))
	if err != nil {
		return fmt.Errorf("remove the rules of the newer kube-proxy on %q: %w", h.Name(), err)
	}
	return nil
}
