package cluster

import (
	"encoding/json"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// podMTU leaves space for the vxlan header. It never changes, because a change
// would interrupt every job.
const podMTU = 1450

// networkUserOf is the user name of the network program of a machine, so that it can
// change only its own node. Up to v0.10, all machines have the same name, and the
// paictl of these releases knows no other.
func networkUserOf(machine, upstream string) string {
	if !contained(upstream) {
		return layout.NetworkUser
	}
	return layout.NetworkUser + ":" + machine
}

// networkFiles are the script and the configuration of the network program. vxlan
// with direct routing sends packets unchanged between machines on one network,
// and through vxlan across networks.
func networkFiles(cfg *config.Config, m config.Machine, v pai.KubernetesVersion) (map[string]preparedFile, error) {
	file := layout.VersionFile(v, layout.NetworkConfigName)
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

// cniConflist connects pods to a bridge of the machine, with addresses from the
// podCIDR of the machine. The addresses in use are stored in a directory that a
// reboot, which ends all pods, empties.
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
		return "", fmt.Errorf("render the pod network of %s: %w", podCIDR, err)
	}
	return string(data) + "\n", nil
}
