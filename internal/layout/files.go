package layout

import (
	"slices"
	"strings"
)

const (
	// ReleaseFile is in the directory of a version whose programs are complete.
	ReleaseFile = "release.json"
	// TemporaryPrefix starts the name of a file that is being written, and
	// IncompleteSuffix ends that of a directory that is being copied or removed.
	TemporaryPrefix  = ".pai-tmp."
	IncompleteSuffix = ".new"
)

// olderKubeadmConfigName is a file that the paictl of v0.9 and v0.10 wrote.
const olderKubeadmConfigName = "kubeadm.yaml"

// ConfigFiles are the files that PAI writes in ConfigDir.
func ConfigFiles() []string {
	return []string{
		CAFile, EncryptionFile, APIProxyFile, KubeProxyConf, NetworkConf, ResolverFile, NoResolverFile, PrepareScript, ShutdownScript,
		AuthenticationFile, CertificatesFile, PKIMark, GateFile,
		ScheduledBackupFile, BackupKeyFile, BackupPublicKeyFile, BackupPermissionsFile, SlotA.EtcdEnv(), SlotB.EtcdEnv(),
	}
}

// tools are the programs of a version that no role runs.
func tools() []string { return []string{"bin/etcdctl", "bin/etcdutl", "bin/kubeadm", "bin/kubectl"} }

// networkPlugins are the programs in cni/.
func networkPlugins() []string {
	return []string{"cni/bridge", "cni/host-local", "cni/loopback", "cni/portmap"}
}

// IsVersionDirectory reports whether PAI makes a directory with this path in the
// directory of a version.
func IsVersionDirectory(path string) bool {
	return slices.Contains([]string{"bin", "cni", "run", "etc"}, path)
}

// IsVersionFile reports whether PAI writes a file with this path in the directory
// of a version.
func IsVersionFile(path string) bool {
	dir, name, _ := strings.Cut(path, "/")
	switch {
	case strings.HasSuffix(path, "/"):
		return false
	case path == ReleaseFile || slices.Contains(tools(), path) || slices.Contains(networkPlugins(), path):
		return true
	case IsVersionDirectory(dir) && strings.HasPrefix(name, TemporaryPrefix):
		return true
	case dir == "run":
		return slices.Contains(Roles(), Role(name))
	case dir == "etc":
		return slices.Contains([]string{KubeletConfigName, ContainerdConfigName, KubeProxyConfigName, NetworkConfigName, AuditPolicyName, olderKubeadmConfigName}, name)
	}
	return slices.ContainsFunc(Roles(), func(r Role) bool { return slices.Contains(ProgramsOf(r), path) })
}
