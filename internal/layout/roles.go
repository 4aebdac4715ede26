package layout

import (
	"fmt"
	"strings"
)

// A Role is a component that runs on a machine as the unit pai-<role>.
type Role string

// The roles. etcd and the API server have two slots each: one runs, and both
// run during a handover.
const (
	RoleRuntime           Role = "containerd"
	RoleEtcdA             Role = "etcd-a"
	RoleEtcdB             Role = "etcd-b"
	RoleAPIServerA        Role = "apiserver-a"
	RoleAPIServerB        Role = "apiserver-b"
	RoleControllerManager Role = "controller-manager"
	RoleScheduler         Role = "scheduler"
	RoleAPIProxy          Role = "api-proxy"
	RoleKubelet           Role = "kubelet"
	RoleKubeProxy         Role = "kube-proxy"
	RoleNetwork           Role = "network"
	// RoleGPU runs only on machines that have GPUs.
	RoleGPU Role = "gpu"
)

// ProgramsOf lists the programs that a role is made of, the one that its unit
// runs first, by their paths in the directory of a version. "cni/" stands for
// all files in that directory.
func ProgramsOf(r Role) []string {
	switch r {
	case RoleRuntime:
		return []string{"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "bin/runc", "cni/"}
	case RoleEtcdA, RoleEtcdB:
		return []string{"bin/etcd"}
	case RoleAPIServerA, RoleAPIServerB:
		return []string{"bin/kube-apiserver"}
	case RoleControllerManager:
		return []string{"bin/kube-controller-manager"}
	case RoleScheduler:
		return []string{"bin/kube-scheduler"}
	case RoleAPIProxy:
		return []string{"bin/api-proxy"}
	case RoleKubelet:
		return []string{"bin/kubelet"}
	case RoleKubeProxy:
		return []string{"bin/kube-proxy"}
	case RoleNetwork:
		return []string{"bin/network"}
	case RoleGPU:
		return []string{"bin/gpu"}
	}
	return nil
}

// IsProgramOf reports whether a path in the directory of a version is a program of
// a role.
func IsProgramOf(r Role, path string) bool {
	for _, wanted := range ProgramsOf(r) {
		if path == wanted || strings.HasSuffix(wanted, "/") && strings.HasPrefix(path, wanted) {
			return true
		}
	}
	return false
}

// ConfigsOf lists the configuration files of a role of a version.
func ConfigsOf[V ~string](v V, r Role) []string {
	switch r {
	case RoleRuntime:
		return []string{VersionFile(v, ContainerdConfigName)}
	case RoleKubelet:
		return []string{VersionFile(v, KubeletConfigName)}
	case RoleKubeProxy:
		return []string{VersionFile(v, KubeProxyConfigName)}
	case RoleNetwork:
		return []string{VersionFile(v, NetworkConfigName)}
	case RoleAPIProxy:
		return []string{APIProxyFile}
	case RoleAPIServerA, RoleAPIServerB:
		return []string{VersionFile(v, AuditPolicyName)}
	case RoleEtcdA, RoleEtcdB, RoleControllerManager, RoleScheduler, RoleGPU:
	}
	return nil
}

// Roles lists all roles.
func Roles() []Role {
	return []Role{RoleRuntime, RoleEtcdA, RoleEtcdB, RoleAPIServerA, RoleAPIServerB, RoleControllerManager, RoleScheduler,
		RoleAPIProxy, RoleKubelet, RoleKubeProxy, RoleNetwork, RoleGPU}
}

// RoleLink is the symbolic link to the version that a role runs.
func RoleLink(r Role) string { return RolesDir + "/" + string(r) }

// RoleProgram is the path of a program of the version that a role runs.
func RoleProgram(r Role, name string) string { return RoleLink(r) + "/bin/" + name }

// Ctr is the command line of the containerd client, in the namespace that
// Kubernetes uses.
const Ctr = RolesDir + "/" + string(RoleRuntime) + "/bin/ctr -n k8s.io"

// PinnedLabel protects an image from the garbage collection of the kubelet,
// because it cannot be pulled again. The CRI plugin of containerd reads it.
const PinnedLabel = "io.cri-containerd.pinned=pinned"

// ImportImages imports and pins the images of an archive on standard input. containerd
// records a layer on disk, but leaves its files to the kernel: after a loss of power, the
// layer would exist for ever without them. So its files are on disk before it is recorded,
// and everything else before the script ends.
const ImportImages = Ctr + " images import --local --sync-fs --label " + PinnedLabel + " -\nsync -f " + ContainerdDir

// Units that belong to no role. UnitPrefix starts the name of every unit.
const (
	UnitPrefix         = "pai-"
	PrepareUnit        = UnitPrefix + "prepare.service"
	ShutdownUnit       = UnitPrefix + "shutdown.service"
	CertificatesUnit   = UnitPrefix + "certificates.service"
	BackupUnit         = UnitPrefix + "scheduled-backup.service"
	BackupTimer        = UnitPrefix + "scheduled-backup.timer"
	ReplaceKubeletUnit = "pai-kubelet-swap.service"
	ReplaceEtcdUnit    = UnitPrefix + "etcd-replace.service"
)

// Users of the API on machines.
const (
	KubeProxyUser    = "system:kube-proxy"
	NetworkUser      = "pai:network"
	CertificatesUser = "pai:certificates" // approves certificates, on the control-plane machine
)

// OwnNetworkUserSince is the first version of kubelets beside which each network program
// has another user: NetworkUser with ":" and the name of its machine. Older ones share
// NetworkUser.
const OwnNetworkUserSince = "v1.37"

// Unit is the systemd unit of a role.
func Unit(r Role) string { return UnitPrefix + string(r) + ".service" }

// UnitFile is the file of the systemd unit of a role.
func UnitFile(r Role) string { return UnitsDir + "/" + Unit(r) }

// A Slot is one of the two places of etcd and of the API server on a machine.
type Slot struct {
	Name            string // "a" or "b"
	Etcd, APIServer Role

	EtcdClientPort, EtcdPeerPort, EtcdMetricsPort int
	APIServerPort                                 int
}

// The two slots.
var (
	SlotA = Slot{"a", RoleEtcdA, RoleAPIServerA, 2379, 2380, 2381, 6444}
	SlotB = Slot{"b", RoleEtcdB, RoleAPIServerB, 2389, 2390, 2391, 6445}
)

// Slots returns both slots.
func Slots() []Slot { return []Slot{SlotA, SlotB} }

// SlotOf is the slot of an etcd or API server role.
func SlotOf(r Role) Slot {
	if r == SlotB.Etcd || r == SlotB.APIServer {
		return SlotB
	}
	return SlotA
}

// Other is the other slot of the same machine.
func (s Slot) Other() Slot {
	if s == SlotA {
		return SlotB
	}
	return SlotA
}

// EtcdData is the data directory of the etcd in this slot.
func (s Slot) EtcdData() string { return EtcdDir + "/" + s.Name }

// EtcdDatabase is the file with the data of the etcd in this slot.
func (s Slot) EtcdDatabase() string { return s.EtcdData() + "/member/snap/db" }

// EtcdEnv holds the first membership of the etcd in this slot. etcd reads it
// only if it has no data.
func (s Slot) EtcdEnv() string { return ConfigDir + "/etcd-" + s.Name + ".env" }

// Member is the name of the etcd member in this slot.
func (s Slot) Member(hostname string) string { return hostname + "-" + s.Name }

// PeerURL is the address at which other etcd members reach this slot.
func (s Slot) PeerURL(hostIP string) string {
	return fmt.Sprintf("https://%s:%d", hostIP, s.EtcdPeerPort)
}
