package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
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
	if !sinceV011(upstream) {
		return layout.NetworkUser
	}
	return layout.NetworkUser + ":" + machine
}

// networkFiles are the script and the configuration of the network program. vxlan
// with direct routing sends packets unchanged between machines on one network,
// and through vxlan across networks.
func networkFiles(cfg *config.Config, m config.Machine, v pai.KubernetesVersion, upstream string) (map[string]preparedFile, error) {
	file := layout.VersionFile(v, layout.NetworkConfigName)
	content := map[string]any{
		"Network":        cfg.Kubernetes.PodClusterIPRange,
		"EnableNFTables": true,
		"Backend":        map[string]any{"Type": "vxlan", "DirectRouting": true},
	}
	if sinceV011(upstream) {
		content["Tasks"] = taskNetworks(cfg.Kubernetes)
	}
	data, err := json.MarshalIndent(content, "", "  ")
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

// taskNetworks is what tasks can reach, as the network program reads it
// (components/network/isolate). Programs of v0.10 do not keep tasks apart.
func taskNetworks(k config.Kubernetes) map[string]any {
	ports := []any{}
	for _, text := range k.TaskPorts {
		if p, ok := config.ParseTaskPort(text); ok { // the configuration was checked
			ports = append(ports, map[string]any{"to": p.To.String(), "protocol": p.Protocol, "first": p.First, "last": p.Last})
		}
	}
	return map[string]any{"services": k.ServiceClusterIPRange, "dns": k.ClusterDNS, "networks": slices.Clone(k.TaskNetworks), "ports": ports}
}

// deleteTaskRules deletes the rules of a network program that keeps tasks apart. Its
// table pai-anchor goes with the program.
const deleteTaskRules = `for table in "inet pai-tasks" "bridge pai-tasks" "inet pai-connections"; do nft delete table $table 2>/dev/null || :; done`

// removeTaskRules stops a network program that keeps tasks apart, and removes its rules
// before an older one starts, which would never change them: new pods could not reach
// the cluster. Open connections stay.
func removeTaskRules(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, "systemctl stop %s\n"+deleteTaskRules, layout.Unit(plan.RoleNetwork))
	if err != nil {
		return fmt.Errorf("remove the rules of the newer network program on %q: %w", h.Name(), err)
	}
	return nil
}

// networkHealth fails if the network program does not run, or if its rules are missing.
func networkHealth(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, `systemctl is-active -q %[1]s
nft list chain ip flannel-ipv4 postrtg >/dev/null
! grep -q '"Tasks"' %[2]s/etc/%[3]s || { nft list table inet pai-tasks && nft list table bridge pai-tasks; } >/dev/null`,
		layout.Unit(plan.RoleNetwork), layout.RoleLink(plan.RoleNetwork), layout.NetworkConfigName)
	return err
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
