package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

const (
	podCIDRTimeout   = 60 * time.Second
	nodeReadyTimeout = 2 * time.Minute
	// labelControlPlane marks a control-plane node.
	labelControlPlane = "node-role.kubernetes.io/control-plane"
)

// kubeletFiles are the script and the configuration of the kubelet. Both are in
// the directory of the version, so the link changes program, flags, and
// configuration at once. reserve sets the reservations of the version; see
// nextReservations.
func (c *cluster) kubeletFiles(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, reserve bool) (map[string]preparedFile, error) {
	control, _, err := c.controlPlane()
	if err != nil {
		return nil, err
	}
	defaults, err := once(ctx, &c.answers, "the kubelet configuration of "+string(v), func(ctx context.Context) (string, error) {
		return c.askKubeadm(ctx, control, v, `"$kubeadm" config print init-defaults --component-configs KubeletConfiguration 2>/dev/null`)
	})
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm for the kubelet configuration: %w", err)
	}
	f, err := c.facts(ctx, h)
	if err != nil {
		return nil, err
	}
	i, err := c.installed(ctx, h, v)
	if err != nil {
		return nil, err
	}
	reserved, err := nextReservations(ctx, h, m, f, i.Upstream, reserve)
	if err != nil {
		return nil, err
	}
	data, err := kubeletConfig(c.Config, m, []byte(defaults), f, i.Upstream, reserved)
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o644)
	if sinceV011(i.Upstream) {
		mode = 0o600
	}
	return map[string]preparedFile{
		layout.VersionFile(v, layout.KubeletConfigName): {string(data), mode},
		layout.RunScript(v, plan.RoleKubelet):           {kubeletScript(m, v), 0o755},
	}, nil
}

// kubeletDone reports whether the kubelet has the version, its node is Ready, and
// its serving certificate is signed.
func (c *cluster) kubeletDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	state, err := roleState(ctx, h, plan.RoleKubelet)
	if err != nil {
		return false, err
	}
	if ok, err := c.fulfilled(ctx, h, m, s, plan.RoleKubelet, state); err != nil || !ok {
		if err == nil {
			return c.keepsReservations(ctx, h, s)
		}
		return false, err
	}
	if ok, err := hasServingCertificate(ctx, h); err != nil || !ok {
		return false, err
	}
	i, err := readInstalled(ctx, h, s.To.Kubernetes())
	if err != nil {
		return false, err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	node, err := k.Clientset().CoreV1().Nodes().Get(ctx, m.Hostname, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read node %q: %w", m.Hostname, err)
	}
	return checkNode(node, i.Upstream) == nil, nil
}

// checkNode checks that a node is Ready and reports a version of the kubelet.
func checkNode(node *corev1.Node, upstream string) error {
	if got := node.Status.NodeInfo.KubeletVersion; got != upstream {
		return fmt.Errorf("node %s reports kubelet %q, not %q", node.Name, got, upstream)
	}
	return checkReady(node)
}

// checkReady checks that a node is Ready.
func checkReady(node *corev1.Node) error {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			if condition.Status == corev1.ConditionTrue {
				return nil
			}
			return fmt.Errorf("node %s is not Ready: %s", node.Name, condition.Message)
		}
	}
	return fmt.Errorf("node %s has no Ready condition", node.Name)
}

// kubelet joins a machine, or replaces its kubelet in place.
func (c *cluster) kubelet(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	i, err := readInstalled(ctx, h, s.To.Kubernetes())
	if err != nil {
		return err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	if err := c.renderStep(ctx, h, m, s, plan.RoleKubelet); err != nil {
		return err
	}
	if err := c.registerNode(ctx, k, h, m); err != nil {
		return err
	}
	if err := c.copyCA(ctx, h); err != nil {
		return err
	}
	if err := c.startKubelet(ctx, h, m, s); err != nil {
		return err
	}
	return c.awaitNode(ctx, k, h, m, i.Upstream)
}

// startKubelet starts a version of the kubelet. If it already runs, it is not
// restarted, because every restart is a risk to the pods of the machine.
func (c *cluster) startKubelet(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	v := s.To.Kubernetes()
	ca, err := c.clusterCA(ctx)
	if err != nil {
		return err
	}
	joined, err := hasIdentity(ctx, h, ca)
	if err != nil {
		return err
	}
	if !joined {
		if err := refuseOccupied(ctx, h, ca); err != nil {
			return err
		}
		return c.joinKubelet(ctx, h, m, v, ca)
	}
	state, err := roleState(ctx, h, plan.RoleKubelet)
	if err != nil {
		return err
	}
	if ok, err := c.fulfilled(ctx, h, m, s, plan.RoleKubelet, state); err != nil || ok {
		return err
	}
	if s.StopsStarts() {
		defer c.gapSince(ctx, h, time.Now())
	}
	return c.replaceKubelet(ctx, h, v)
}

// registerNode creates the node before the kubelet does. Then its podCIDR is
// known and the network configuration exists when the kubelet first reads it,
// which it does only every five seconds.
func (c *cluster) registerNode(ctx context.Context, k *kube.Client, h machine.Host, m config.Machine) error {
	nodes := k.Clientset().CoreV1().Nodes()
	node, err := nodes.Get(ctx, m.Hostname, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if _, err := k.Apply(ctx, []*unstructured.Unstructured{nodeObject(m, KindOf(c.Config, m))}, kube.ApplyOptions{}); err != nil {
			return fmt.Errorf("register node %q: %w", m.Hostname, err)
		}
	} else if err != nil {
		return fmt.Errorf("read node %q: %w", m.Hostname, err)
	}
	wait := poll.Wait{For: "podCIDR of node " + m.Hostname, Timeout: podCIDRTimeout, Every: 50 * time.Millisecond}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		node, err = nodes.Get(ctx, m.Hostname, metav1.GetOptions{})
		return err == nil && node.Spec.PodCIDR != "", err
	})
	if err != nil {
		return err
	}
	conflist, err := cniConflist(node.Spec.PodCIDR)
	if err != nil {
		return err
	}
	// An unchanged file is not written: the runtime would read it again.
	if old, err := h.ReadFile(ctx, layout.CNIConfig); err == nil && string(old) == conflist {
		return nil
	}
	return h.WriteFile(ctx, layout.CNIConfig, []byte(conflist), 0o600)
}

func nodeObject(m config.Machine, kind plan.MachineKind) *unstructured.Unstructured {
	labels := map[string]any{"kubernetes.io/hostname": m.Hostname}
	if m.IsControlPlane() {
		labels[labelControlPlane] = ""
	}
	metadata := map[string]any{"name": m.Hostname, "labels": labels}
	if kind.SKU != "" {
		labels[pai.LabelMachineSKU] = kind.SKU
	}
	if kind.GPUs > 0 {
		metadata["annotations"] = map[string]any{pai.AnnotationMachineGPUs: strconv.Itoa(kind.GPUs)}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Node", "metadata": metadata,
	}}
}

// hasIdentity reports whether the kubelet has a certificate of this cluster, not of
// an older one, that has not ended: a kubelet cannot renew one that has.
func hasIdentity(ctx context.Context, h machine.Host, ca []byte) (bool, error) {
	out, err := sh(ctx, h, "[ -e %s ] && echo yes || :", layout.KubeletClientCertificate)
	if err != nil || out != "yes" {
		return false, err
	}
	there, err := readPrepared(ctx, h)
	if err != nil || there.IdentityEnded {
		return false, err
	}
	kubeconfig, err := h.ReadFile(ctx, layout.KubeletConf)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return hasAuthority(kubeconfig, ca), nil
}

// hasAuthority reports whether a kubeconfig belongs to the cluster with this
// certificate authority.
func hasAuthority(kubeconfig, ca []byte) bool {
	config, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return false
	}
	for _, c := range config.Clusters {
		if bytes.Equal(bytes.TrimSpace(c.CertificateAuthorityData), bytes.TrimSpace(ca)) {
			return true
		}
	}
	return false
}

// joinKubelet starts the kubelet on a machine for the first time. The kubelet
// requests its identity with a token that is valid only during this step, creates
// its own key, and trusts the certificate authority that was copied over ssh. The
// request is approved here, and only for this machine.
func (c *cluster) joinKubelet(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion, ca []byte) (err error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	token, revoke, err := c.joinToken(ctx, v)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, revoke()) }()
	kubeconfig, err := bootstrapKubeconfig(layout.APIServerURL(c.Config.Kubernetes.APIServersPort), ca, token)
	if err != nil {
		return err
	}
	// An existing identity is incomplete or belongs to another cluster.
	if _, err := sh(ctx, h, "rm -rf %s %s", layout.KubeletConf, layout.KubeletPKIDir); err != nil {
		return err
	}
	if err := h.WriteFile(ctx, layout.BootstrapKubeletConf, kubeconfig, 0o600); err != nil {
		return err
	}
	if err := moveAndRestart(ctx, h, plan.RoleKubelet, v); err != nil {
		return err
	}
	wait := poll.Wait{For: "an identity of the kubelet on " + h.Name(), Timeout: healthTimeout, Every: 100 * time.Millisecond}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if ok, err := hasIdentity(ctx, h, ca); err != nil || ok {
			return ok, err
		}
		return false, approveJoining(ctx, k, tokenID(token), m)
	})
	if err != nil {
		return withJournal(ctx, h, plan.RoleKubelet, err)
	}
	return h.Remove(ctx, layout.BootstrapKubeletConf)
}

// awaitNode waits until the node is Ready with the version of the kubelet, and
// approves its serving certificate meanwhile.
func (c *cluster) awaitNode(ctx context.Context, k *kube.Client, h machine.Host, m config.Machine, upstream string) error {
	wait := poll.Wait{For: "node " + m.Hostname + " ready", Timeout: nodeReadyTimeout, Every: 150 * time.Millisecond}
	return withJournal(ctx, h, plan.RoleKubelet, wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if err := approveServing(ctx, k, m); err != nil {
			return false, err
		}
		node, err := k.Clientset().CoreV1().Nodes().Get(ctx, m.Hostname, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if err := checkNode(node, upstream); err != nil {
			return false, err
		}
		ok, err := hasServingCertificate(ctx, h)
		if err == nil && !ok {
			err = fmt.Errorf("the kubelet has no serving certificate yet")
		}
		return ok, err
	}))
}

func hasServingCertificate(ctx context.Context, h machine.Host) (bool, error) {
	names, err := h.ReadDir(ctx, layout.KubeletDir+"/pki")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, n := range names {
		if n == "kubelet-server-current.pem" {
			return true, nil
		}
	}
	return false, err
}
