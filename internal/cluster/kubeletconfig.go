package cluster

import (
	_ "embed" // a script
	"fmt"
	"maps"
	"strings"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// firstMarkingTasks is the first version whose kubelet is started after the tasks that a
// restart of the machine ended were marked.
const firstMarkingTasks pai.KubernetesVersion = "v0.11-pai"

//go:embed scripts/restarted.sh
var restartedScript string

// kubeletScript starts a kubelet. Everything else is in its configuration file.
func kubeletScript(m config.Machine, v pai.KubernetesVersion) string {
	return script(v, plan.RoleKubelet, "kubelet", flags{
		"--config=" + layout.VersionFile(v, layout.KubeletConfigName), "--kubeconfig=" + layout.KubeletConf, "--bootstrap-kubeconfig=" + layout.BootstrapKubeletConf,
		"--hostname-override=" + m.Hostname, "--node-ip=" + m.HostIP,
	}, marksEndedTasks(m, v)...)
}

// marksEndedTasks is what the script of a kubelet does for the tasks that a restart of the
// machine ended. The scripts of older versions stay as they are.
func marksEndedTasks(m config.Machine, v pai.KubernetesVersion) []string {
	if v.Compare(firstMarkingTasks) < 0 {
		return nil
	}
	values := strings.NewReplacer("%KUBECONFIG%", layout.KubeletConf, "%KUBECTL%", layout.Program(v, "kubectl"), "%NODE%", m.Hostname, "%LABEL%", pai.LabelJob, "%MANAGER%", pai.FieldManager)
	return []string{strings.TrimSuffix(values.Replace(restartedScript), "\n")}
}

// kubeletConfig is the default configuration that kubeadm prints, with the
// settings of PAI for an upstream version of Kubernetes.
func kubeletConfig(cfg *config.Config, m config.Machine, defaults []byte, f facts, upstream string, reserved reservations) ([]byte, error) {
	for doc := range strings.SplitSeq(string(defaults), "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			return nil, fmt.Errorf("read the kubeadm defaults: %w", err)
		}
		if object["kind"] == "KubeletConfiguration" {
			maps.Copy(object, kubeletSettings(cfg, m, f))
			if sinceV011(upstream) {
				maps.Copy(object, containment(f))
			}
			if reserved.Kube != nil {
				object["kubeReserved"] = reserved.Kube
			}
			if reserved.System != nil {
				object["systemReserved"] = reserved.System
			}
			if gates := kubeletGates(upstream); len(gates) > 0 {
				object["featureGates"] = gates
			}
			delete(object, "staticPodPath") // the kubelet would run what is there
			return yaml.Marshal(object)
		}
	}
	return nil, fmt.Errorf("the kubeadm defaults have no KubeletConfiguration")
}

func kubeletSettings(cfg *config.Config, m config.Machine, f facts) map[string]any {
	cgroupDriver := "systemd"
	if f.CgroupV1 {
		cgroupDriver = "cgroupfs"
	}
	return map[string]any{
		"address":                  m.HostIP,
		"clusterDNS":               []any{cfg.Kubernetes.ClusterDNS},
		"clusterDomain":            clusterDomain,
		"containerRuntimeEndpoint": "unix://" + layout.ContainerdSocket,
		"cgroupDriver":             cgroupDriver,
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"resolvConf":               layout.ResolverFile,
		"rotateCertificates":       true,
		"serverTLSBootstrap":       true,
		// Images cannot be pulled again, so none is removed.
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		// A full disk must not end jobs. If memory runs out, the kernel ends the
		// process that used too much; the kubelet would end whole pods.
		"evictionHard": map[string]any{
			"memory.available": "100Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%",
			"imagefs.available": "0%", "imagefs.inodesFree": "0%",
		},
		"makeIPTablesUtilChains":          false, // kube-proxy uses nftables
		"shutdownGracePeriod":             "0s",
		"shutdownGracePeriodCriticalPods": "0s",
	}
}

// containment confines pods that start from now on; running ones keep what they have.
func containment(f facts) map[string]any {
	return map[string]any{
		"podPidsLimit":   podProcessesOf(f),
		"seccompDefault": true,
		// The default of the kubelet, which kubeadm prints as zero.
		"streamingConnectionIdleTimeout": "4h0m0s",
		"tlsCipherSuites":                strongCiphers,
	}
}

// kubeletGates are the feature gates of a kubelet that differ from their defaults.
// The files of Kubernetes 1.35 and 1.36, which clusters have, set none.
func kubeletGates(upstream string) map[string]any {
	if pai.CompareVersions(upstream, "v1.37") < 0 {
		return nil // an unknown gate keeps a kubelet from starting
	}
	return map[string]any{
		// memory.available shrinks by the huge pages of the machine: a kubelet that
		// takes over a machine with running jobs could evict them.
		"HugepageAwareEviction": false,
		// It throttles containers by their memory requests, from the update of a
		// container on.
		"MemoryQoS": false,
	}
}
