package cluster

import (
	"fmt"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Folders and files on a machine.
const (
	programsDir = "/opt/pai"
	roleDir     = "/opt/pai/role"
	configDir   = "/etc/pai"
	stateDir    = "/var/lib/pai"
	unitDir     = "/etc/systemd/system"

	kubernetesDir = "/etc/kubernetes"
	pkiDir        = "/etc/kubernetes/pki"
	adminConf     = "/etc/kubernetes/admin.conf"
	kubeletConf   = "/etc/kubernetes/kubelet.conf"
	bootstrapConf = "/etc/kubernetes/bootstrap-kubelet.conf"
	kubeletDir    = "/var/lib/kubelet"
	etcdDir       = "/var/lib/etcd"
	cniConfig     = "/etc/cni/net.d/10-pai.conflist"

	caFile         = configDir + "/ca.crt" // the cluster's certificate authority, on every machine
	encryptionFile = configDir + "/encryption.yaml"
	apiProxyFile   = configDir + "/api-proxy.json"
	kubeProxyConf  = configDir + "/kube-proxy.conf"
	networkConf    = configDir + "/network.conf"
	resolverFile   = configDir + "/resolv.conf"

	imagesDir    = stateDir + "/images"
	snapshotsDir = stateDir + "/snapshots"
	recordFile   = stateDir + "/cluster.json"

	containerdSocket = "/run/containerd/containerd.sock"
)

// APIName is the name of the API on every machine, where it stands for the
// loopback; the API server's certificate carries it.
const APIName = "api.pai.internal"

// versionDir is the folder of one Kubernetes version.
func versionDir(v pai.KubernetesVersion) string { return programsDir + "/" + string(v) }

// program is the path of a program of one version.
func program(v pai.KubernetesVersion, name string) string { return versionDir(v) + "/bin/" + name }

func runScript(v pai.KubernetesVersion, r plan.Role) string {
	return versionDir(v) + "/run/" + string(r)
}

// roleFile is where a version keeps its configuration of a role.
func roleFile(v pai.KubernetesVersion, name string) string { return versionDir(v) + "/etc/" + name }

func roleLink(r plan.Role) string { return roleDir + "/" + string(r) }

func unit(r plan.Role) string { return "pai-" + string(r) + ".service" }

// apiServer is the address of the API as kubeconfigs name it.
func apiServer(port int) string { return fmt.Sprintf("https://%s:%d", APIName, port) }
