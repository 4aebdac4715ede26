package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"text/template"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// bootstrapDone reports whether the kubeadm configuration in the cluster has the
// version, and whether the service "kubernetes" has the endpoint of the API.
func (c *cluster) bootstrapDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	i, err := c.content(ctx, h, s.To.Kubernetes())
	if err != nil {
		return false, err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	cm, err := k.Clientset().CoreV1().ConfigMaps("kube-system").Get(ctx, "kubeadm-config", metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) { // this step grants the administrator its rights
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the kubeadm configuration in the cluster: %w", err)
	}
	var stored struct {
		KubernetesVersion string `json:"kubernetesVersion"`
	}
	if err := yaml.Unmarshal([]byte(cm.Data["ClusterConfiguration"]), &stored); err != nil || stored.KubernetesVersion != i.Upstream {
		return false, nil
	}
	if ok, err := c.applied(ctx, k, bootstrapInventory, func() (string, error) { return c.bootstrapDigest(ctx, h, m, s.To.Kubernetes()) }); err != nil || !ok {
		return false, err
	}
	if ok, err := automaticJoinsFit(ctx, k, s.To.Kubernetes()); err != nil || !ok {
		return false, err
	}
	addresses, err := endpoints(ctx, k)
	return slices.Equal(addresses, []string{endpointAddress(c.Config, m)}), err
}

// bootstrap writes what the cluster itself needs into the API: the kubeadm
// configuration, the rights of joining kubelets and of the network program, and
// the endpoints of the service "kubernetes".
func (c *cluster) bootstrap(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	// This grants the administrator the rights to write the rest.
	if err := c.kubeadmPhases(ctx, h, s.To.Kubernetes(), asSuperAdmin+phase("bootstrap-token")+phase("upload-config kubelet")+withoutClusterInfo+withoutAutomaticJoins(s.To.Kubernetes())); err != nil {
		return err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	objects, err := c.bootstrapObjects(m)
	if err != nil {
		return err
	}
	digest, err := c.bootstrapDigest(ctx, h, m, s.To.Kubernetes())
	if err != nil {
		return err
	}
	if _, err := k.Apply(ctx, objects, kube.ApplyOptions{Inventory: bootstrapInventory, Record: map[string]string{recordDigest: digest}}); err != nil {
		return fmt.Errorf("write what the cluster needs into the API: %w", err)
	}
	// The version comes last: it marks the step as done.
	return c.kubeadmPhases(ctx, h, s.To.Kubernetes(), phase("upload-config kubeadm"))
}

// bootstrapDigest is the digest of the objects and of the configuration of kubeadm.
func (c *cluster) bootstrapDigest(ctx context.Context, h machine.Host, m config.Machine, v pai.KubernetesVersion) (string, error) {
	objects, err := c.bootstrapObjects(m)
	if err != nil {
		return "", err
	}
	i, err := c.content(ctx, h, v)
	if err != nil {
		return "", err
	}
	configuration, err := kubeadmConfig(c.Config, c.Config.ControlPlane(), i.Upstream)
	if err != nil {
		return "", err
	}
	digest, err := digestOf(objects)
	return fingerprint.Of([]byte(digest[recordDigest] + string(configuration))), err
}

// asSuperAdmin makes a kubeconfig with all rights, as which kubeadm grants the
// administrator its rights the first time, and removes it when the script ends:
// its rights cannot be removed, and PAI does not use it.
const asSuperAdmin = `
trap 'rm -f ` + layout.SuperAdminConf + `' EXIT
log=$("$kubeadm" init phase kubeconfig super-admin --config "$config" 2>&1) || { printf '%s\n' "$log" >&2; exit 1; }`

// withoutClusterInfo removes what kubeadm publishes, readable without a credential, for
// machines that join. PAI takes the authority to a machine over ssh.
const withoutClusterInfo = `
"${kubeadm%/*}/kubectl" --kubeconfig ` + layout.AdminConf + ` -n kube-public delete --ignore-not-found --wait=false configmap/cluster-info \
    role.rbac.authorization.k8s.io/kubeadm:bootstrap-signer-clusterinfo rolebinding.rbac.authorization.k8s.io/kubeadm:bootstrap-signer-clusterinfo >/dev/null`

// firstApprovedJoin is the first version in which paictl alone approves what a machine
// that joins requests.
const firstApprovedJoin pai.KubernetesVersion = "v0.11-pai"

// withoutAutomaticJoins makes the controller manager approve no request of the holder of a
// join token: for ten minutes, a token could make its holder any node. In a cluster of an
// older version it stays, because its paictl needs it.
func withoutAutomaticJoins(v pai.KubernetesVersion) string {
	if v.Compare(firstApprovedJoin) < 0 {
		return ""
	}
	return `
"${kubeadm%/*}/kubectl" --kubeconfig ` + layout.AdminConf + ` delete --ignore-not-found --wait=false clusterrolebinding.rbac.authorization.k8s.io/` + automaticJoins + ` >/dev/null`
}

// automaticJoins is what kubeadm names that right.
const automaticJoins = "kubeadm:node-autoapprove-bootstrap"

// automaticJoinsFit reports whether that right exists in a cluster of a version that needs
// it, and not in another one. A step that was killed can have changed only the right.
func automaticJoinsFit(ctx context.Context, k *kube.Client, v pai.KubernetesVersion) (bool, error) {
	_, err := k.Clientset().RbacV1().ClusterRoleBindings().Get(ctx, automaticJoins, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("read ClusterRoleBinding %s: %w", automaticJoins, err)
	}
	return (err == nil) == (v.Compare(firstApprovedJoin) < 0), nil
}

// phase is the script of a phase of kubeadm.
func phase(name string) string {
	return fmt.Sprintf(`
log=$("$kubeadm" init phase %s --config "$config" 2>&1) || { printf '%%s\n' "$log" | grep -v token >&2; exit 1; }`, name)
}

// kubeadmPhases runs phases that write into the API.
func (c *cluster) kubeadmPhases(ctx context.Context, h machine.Host, v pai.KubernetesVersion, script string) error {
	if _, err := c.kubeadm(ctx, h, v, script); err != nil {
		return fmt.Errorf("write the kubeadm configuration into the cluster: %w", err)
	}
	return nil
}

const bootstrapInventory = "cluster-bootstrap"

// bootstrapValues fill in the manifest, for a cluster with these machines.
func bootstrapValues(machines []string) map[string]any {
	return map[string]any{"NetworkUser": layout.NetworkUser, "Machines": machines, "CertificatesUser": layout.CertificatesUser,
		"OwnUserMinor":  strings.TrimPrefix(layout.OwnNetworkUserSince, "v1."),
		"RESTServerTLS": pai.RESTServerTLS, "PortalTLS": pai.PortalTLS, "RESTServerCA": pai.RESTServerCA, "MetricsTLS": pai.MetricsTLS}
}

func (c *cluster) bootstrapObjects(m config.Machine) ([]*unstructured.Unstructured, error) {
	var machines []string
	for _, m := range c.Config.Layout.MachineList {
		machines = append(machines, m.Hostname)
	}
	objects, err := renderManifest("manifests/bootstrap.yaml", bootstrapValues(machines))
	return append(objects, apiEndpoints(endpointAddress(c.Config, m), c.Config.Kubernetes.APIServersPort)...), err
}

// apiEndpoints are the endpoints of the service "kubernetes": an address of
// the proxy (endpointAddress). The label of the old kind keeps
// Kubernetes from mirroring it into a second slice.
func apiEndpoints(address string, port int) []*unstructured.Unstructured {
	const name, namespace, https = "kubernetes", "default", "https"
	ports := []any{map[string]any{"name": https, "port": int64(port), "protocol": "TCP"}}
	addressType := string(discoveryv1.AddressTypeIPv4)
	if ip := net.ParseIP(address); ip != nil && ip.To4() == nil {
		addressType = string(discoveryv1.AddressTypeIPv6)
	}
	return []*unstructured.Unstructured{
		{Object: map[string]any{
			"apiVersion": "v1", "kind": "Endpoints",
			"metadata": map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{discoveryv1.LabelSkipMirror: "true"}},
			"subsets":  []any{map[string]any{"addresses": []any{map[string]any{"ip": address}}, "ports": ports}},
		}},
		{Object: map[string]any{
			"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
			"metadata":    map[string]any{"name": name, "namespace": namespace, "labels": map[string]any{discoveryv1.LabelServiceName: name}},
			"addressType": addressType,
			"endpoints":   []any{map[string]any{"addresses": []any{address}, "conditions": map[string]any{"ready": true}}},
			"ports":       ports,
		}},
	}
}

// renderManifest renders an embedded manifest.
func renderManifest(name string, values any) ([]*unstructured.Unstructured, error) {
	t, err := template.ParseFS(embedded, name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Option("missingkey=error").Execute(&b, values); err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	objects, err := kube.Decode(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", name, err)
	}
	return objects, nil
}
