package cluster

import (
	"context"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const (
	clusterDomain = "cluster.local"
	// bootstrapTTL is the lifetime of the token that the bootstrap-token phase of
	// kubeadm always creates. It is not used: each machine gets its own token.
	bootstrapTTL = "1m0s"
)

// kubeadmConfig is the configuration of the kubeadm phases. Both upstream minors
// know its API version.
func kubeadmConfig(cfg *config.Config, upstream string) ([]byte, error) {
	m := cfg.ControlPlane()
	init := map[string]any{
		"apiVersion":       "kubeadm.k8s.io/v1beta4",
		"kind":             "InitConfiguration",
		"localAPIEndpoint": map[string]any{"advertiseAddress": m.HostIP, "bindPort": cfg.Kubernetes.APIServersPort},
		"nodeRegistration": map[string]any{
			"name":      m.Hostname,
			"criSocket": "unix://" + layout.ContainerdSocket,
			"taints":    []any{},
		},
		"bootstrapTokens": []any{map[string]any{"ttl": bootstrapTTL, "description": "created by kubeadm, not used"}},
	}
	clusterConfig := map[string]any{
		"apiVersion":           "kubeadm.k8s.io/v1beta4",
		"kind":                 "ClusterConfiguration",
		"clusterName":          "kubernetes",
		"kubernetesVersion":    upstream,
		"controlPlaneEndpoint": fmt.Sprintf("%s:%d", layout.APIName, cfg.Kubernetes.APIServersPort),
		"certificatesDir":      layout.PKIDir,
		"encryptionAlgorithm":  "ECDSA-P256",
		"imageRepository":      "pai.local",
		"networking": map[string]any{
			"serviceSubnet": cfg.Kubernetes.ServiceClusterIPRange,
			"podSubnet":     cfg.Kubernetes.PodClusterIPRange,
			"dnsDomain":     clusterDomain,
		},
		"apiServer": map[string]any{"certSANs": []string{layout.APIName, "localhost", "127.0.0.1", m.HostIP}},
		"etcd":      map[string]any{"local": map[string]any{"dataDir": layout.EtcdDir + "/a"}},
	}
	return documents(init, clusterConfig)
}

// documents joins objects into one YAML stream.
func documents(objects ...any) ([]byte, error) {
	var parts []string
	for _, o := range objects {
		doc, err := yaml.Marshal(o)
		if err != nil {
			return nil, err
		}
		parts = append(parts, string(doc))
	}
	return []byte(strings.Join(parts, "---\n")), nil
}

func kubeadmFile(v pai.KubernetesVersion) string { return layout.VersionFile(v, "kubeadm.yaml") }

// kubeadm runs a script on the control-plane machine. $kubeadm is the kubeadm of
// a version, and $config is its configuration.
func (c *cluster) kubeadm(ctx context.Context, h machine.Host, v pai.KubernetesVersion, script string) (string, error) {
	i, err := c.installed(ctx, h, v)
	if err != nil {
		return "", err
	}
	data, err := kubeadmConfig(c.Config, i.Upstream)
	if err != nil {
		return "", err
	}
	if c.Kubeadm != nil {
		return c.Kubeadm(ctx, data, script)
	}
	if err := h.WriteFile(ctx, kubeadmFile(v), data, 0o600); err != nil {
		return "", err
	}
	return sh(ctx, h, "kubeadm=%s config=%s\n%s", layout.Program(v, "kubeadm"), kubeadmFile(v), script)
}

// componentFlags are the flags that kubeadm gives a control-plane component: the
// command line of its manifest. kubeadm writes the manifest into a scratch
// directory, because the kubelet would run one in its own directory.
func (c *cluster) componentFlags(ctx context.Context, h machine.Host, v pai.KubernetesVersion, r plan.Role) (flags, error) {
	var phase, manifest string
	switch r {
	case plan.RoleControllerManager, plan.RoleScheduler:
		phase, manifest = "control-plane "+string(r), "kube-"+string(r)
	case plan.RoleAPIServerA, plan.RoleAPIServerB:
		phase, manifest = "control-plane apiserver", "kube-apiserver"
	case plan.RoleEtcdA, plan.RoleEtcdB:
		phase, manifest = "etcd local", "etcd"
	case plan.RoleRuntime, plan.RoleAPIProxy, plan.RoleKubelet, plan.RoleKubeProxy, plan.RoleNetwork:
	}
	if phase == "" {
		return nil, fmt.Errorf("kubeadm has no flags for role %q", r)
	}
	out, err := c.kubeadm(ctx, h, v, fmt.Sprintf(`
dir=${SCRATCH:-$(mktemp -d)}
mkdir -p -m 0700 "$dir"
trap 'rm -rf "$dir"' EXIT
KUBEADM_INIT_DRYRUN_DIR="$dir" "$kubeadm" init phase %s --config "$config" --dry-run >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
cat "$dir/%s.yaml"`, phase, manifest))
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm of %s for the flags of %s: %w", v, manifest, err)
	}
	return flagsOfManifest([]byte(out))
}

// flagsOfManifest are the flags of the only container of a static pod.
func flagsOfManifest(manifest []byte) (flags, error) {
	var pod struct {
		Spec struct {
			Containers []struct {
				Command []string `json:"command"`
			} `json:"containers"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, fmt.Errorf("read the kubeadm manifest: %w", err)
	}
	if len(pod.Spec.Containers) != 1 || len(pod.Spec.Containers[0].Command) < 2 {
		return nil, fmt.Errorf("the kubeadm manifest has no command line")
	}
	return flags(pod.Spec.Containers[0].Command[1:]), nil
}
