package cluster

import (
	"encoding/json"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// podMTU leaves room for vxlan's header on an ordinary network. It is fixed
// from the first boot on: changing it would interrupt every job.
const podMTU = 1450

// networkUser is the name that the network program has in the API.
const networkUser = "pai:network"

// networkFiles are the network program's script and configuration. vxlan with
// direct routing sends packets as they are between machines on one network,
// and through vxlan across networks.
func networkFiles(cfg *config.Config, m config.Machine, v pai.KubernetesVersion) (map[string]preparedFile, error) {
	file := layout.VersionFile(v, "network.json")
	data, err := json.MarshalIndent(map[string]any{
		"Network":        cfg.Kubernetes.PodClusterIPRange,
		"EnableNFTables": true,
		"Backend":        map[string]any{"Type": "vxlan", "DirectRouting": true},
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return map[string]preparedFile{
		file: {string(data), 0o644},
		layout.RunScript(v, plan.RoleNetwork): {script(v, plan.RoleNetwork, "network",
			flags{"--kubeconfig=" + layout.NetworkConf, "--config=" + file, "--address=" + m.HostIP},
			"export NODE_NAME="+word(m.Hostname)), 0o755},
	}, nil
}

// cniConflist is how the container runtime connects a pod: to a bridge of the
// machine, with an address of the machine's podCIDR. Addresses in use are kept
// where a reboot, which ends all pods, forgets them.
func cniConflist(podCIDR string) (string, error) {
	data, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0",
		"name":       "pai",
		"plugins": []any{
			map[string]any{
				"type": "bridge", "bridge": "pai0", "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true, "mtu": podMTU,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": layout.PodAddressesDir,
					"ranges": []any{[]any{map[string]any{"subnet": podCIDR}}},
				},
			},
			map[string]any{"type": "portmap", "backend": "nftables", "snat": true, "capabilities": map[string]any{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("render the pods' network of %s: %w", podCIDR, err)
	}
	return string(data) + "\n", nil
}
