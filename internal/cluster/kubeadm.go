package cluster

import (
	"bytes"
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

// kubeadmConfig is the configuration of the kubeadm phases on a control-plane machine.
// Both upstream minors know its API version. What goes into the cluster is the same for
// each machine.
func kubeadmConfig(cfg *config.Config, m config.Machine, upstream string) ([]byte, error) {
	names := []string{layout.APIName, "localhost", "127.0.0.1"}
	for _, one := range cfg.ControlPlanes() {
		names = append(names, one.HostIP)
	}
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
		"apiServer": map[string]any{"certSANs": names},
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

// kubeadm runs a script on a control-plane machine. $kubeadm is the kubeadm of
// a version, and $config is its configuration, which is deleted after the script.
func (c *cluster) kubeadm(ctx context.Context, h machine.Host, v pai.KubernetesVersion, script string) (string, error) {
	return c.runKubeadm(ctx, h, v, machine.Command{Script: script})
}

func (c *cluster) runKubeadm(ctx context.Context, h machine.Host, v pai.KubernetesVersion, command machine.Command) (string, error) {
	i, err := c.installed(ctx, h, v)
	if err != nil {
		return "", err
	}
	m, _ := c.Config.FindMachine(h.Name())
	data, err := kubeadmConfig(c.Config, m, i.Upstream)
	if err != nil {
		return "", err
	}
	if c.Kubeadm != nil {
		return c.Kubeadm(ctx, data, command.Script)
	}
	if v, err = c.controlVersion(ctx, h, v); err != nil {
		return "", err
	}
	command.Script = fmt.Sprintf("kubeadm=%s config=$SCRATCH/kubeadm.yaml\nmkdir -p -m 0700 \"$SCRATCH\"\ncat >\"$config\"\n%s",
		layout.Program(v, "kubeadm"), command.Script)
	command.Stdin = bytes.NewReader(data)
	out, err := h.Run(ctx, command)
	return strings.TrimSpace(out.Stdout), err
}

// controlVersion is a version with the build that a control-plane machine has.
// Another machine can have other builds.
func (c *cluster) controlVersion(ctx context.Context, h machine.Host, v pai.KubernetesVersion) (pai.KubernetesVersion, error) {
	return once(ctx, &c.answers, "the build of "+string(v)+" on "+h.Name(), func(ctx context.Context) (pai.KubernetesVersion, error) {
		out, err := sh(ctx, h, `[ ! -x %s ] || { echo %s; exit 0; }
for l in %s %s; do [ ! -L "$l" ] || basename "$(readlink "$l")"; done`,
			layout.Program(v, "kubeadm"), v, layout.RoleLink(layout.RoleAPIServerA), layout.RoleLink(layout.RoleAPIServerB))
		if err != nil {
			return "", fmt.Errorf("find the programs of Kubernetes %s on %q: %w", v, h.Name(), err)
		}
		for build := range strings.FieldsSeq(out) {
			if found := pai.KubernetesVersion(build); found.Label() == v.Label() {
				return found, nil
			}
		}
		return "", pai.Errorf(pai.CodeFailed, "copy them to the machine; run: paictl cluster k8s-bootup", "machine %q has no programs of Kubernetes %s", h.Name(), v)
	})
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
	case plan.RoleRuntime, plan.RoleAPIProxy, plan.RoleKubelet, plan.RoleKubeProxy, plan.RoleNetwork, plan.RoleGPU:
	}
	if phase == "" {
		return nil, fmt.Errorf("kubeadm has no flags for role %q", r)
	}
	ask := func(ctx context.Context) (string, error) {
		return c.kubeadm(ctx, h, v, fmt.Sprintf(`
dir=${SCRATCH:-$(mktemp -d)}
mkdir -p -m 0700 "$dir"
trap 'rm -rf "$dir"' EXIT
KUBEADM_INIT_DRYRUN_DIR="$dir" "$kubeadm" init phase %s --config "$config" --dry-run >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
cat "$dir/%s.yaml"`, phase, manifest))
	}
	out, err := once(ctx, &c.answers, fmt.Sprintf("the manifest of %s of %s", manifest, v), ask)
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
