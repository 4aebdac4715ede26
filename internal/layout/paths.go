// Package layout names what PAI puts on a machine and what listens there:
// paths, units, roles, slots, and ports. It uses only the standard library.
// No other package spells these names.
package layout

// Directories that PAI owns, and those that Kubernetes prescribes.
const (
	ProgramsDir = "/opt/pai"
	RolesDir    = ProgramsDir + "/role"
	HelperDir   = ProgramsDir + "/helper" // the helper of each paictl in its own directory
	ConfigDir   = "/etc/pai"
	StateDir    = "/var/lib/pai"
	RunDir      = "/run/pai" // emptied by a reboot
	UnitsDir    = "/etc/systemd/system"

	KubernetesDir = "/etc/kubernetes"
	PKIDir        = KubernetesDir + "/pki"
	KubeletDir    = "/var/lib/kubelet"
	KubeletPKIDir = KubeletDir + "/pki"
	EtcdDir       = "/var/lib/etcd"
	ContainerdDir = "/var/lib/containerd"
)

// Files of PAI.
const (
	CAFile         = ConfigDir + "/ca.crt" // certificate authority of the cluster, on every machine
	EncryptionFile = ConfigDir + "/encryption.yaml"
	APIProxyFile   = ConfigDir + "/api-proxy.json"
	KubeProxyConf  = ConfigDir + "/kube-proxy.conf"
	NetworkConf    = ConfigDir + "/network.conf"
	ResolverFile   = ConfigDir + "/resolv.conf"
	NoResolverFile = ConfigDir + "/resolv.empty" // by the prepare script
	GateFile       = ConfigDir + "/gate.nft"
	PrepareScript  = ConfigDir + "/prepare.sh"
	ShutdownScript = ConfigDir + "/shutdown.sh"
	// AuthenticationFile says whom the API servers let in. They notice a new one.
	AuthenticationFile = ConfigDir + "/authentication.yaml"
	// CertificatesFile has the machines whose kubelets get certificates.
	CertificatesFile = ConfigDir + "/certificates.json"
	// ScheduledBackupFile has the settings of backups that need no operator. The machine
	// signs them with BackupKeyFile, which BackupPermissionsFile permits.
	ScheduledBackupFile   = ConfigDir + "/scheduled-backup.json"
	BackupKeyFile         = ConfigDir + "/backup.key"
	BackupPublicKeyFile   = BackupKeyFile + ".pub"
	BackupPermissionsFile = ConfigDir + "/backup-permissions.json"
	// PKIMark says that the certificates of the cluster are of PAI.
	PKIMark = ConfigDir + "/pki"

	ImagesDir         = StateDir + "/images"
	SnapshotsDir      = StateDir + "/snapshots"
	ClusterRecordFile = StateDir + "/cluster.json"
	MaintenanceFile   = StateDir + "/maintenance.json" // the machines in maintenance
	RecoveryFile      = StateDir + "/recovery.json"    // what a restore from a backup did
	RecoveryDir       = StateDir + "/recovery.new"     // the files of a backup that is being restored
	DigestsFile       = StateDir + "/digests.json"     // cache of the helper
	BackupStatusFile  = StateDir + "/backups.json"     // the last scheduled backup, and the last failure

	PodAddressesDir = RunDir + "/cni" // addresses of pods that are in use

	// MetricsDir has metrics of programs on the machine that node-exporter shows.
	MetricsDir             = RunDir + "/metrics"
	CertificateMetricsFile = MetricsDir + "/certificates.prom"
	BackupMetricsFile      = MetricsDir + "/backup.prom"
	GPUMetricsFile         = MetricsDir + "/gpu.prom"
	OperationMetricsFile   = MetricsDir + "/operation.prom"
	GPUStatusFile          = RunDir + "/gpu/status.json" // what the agent for GPUs does
	GPUHealthFile          = RunDir + "/gpu/health.json" // what happened to GPUs since the boot

	// APIProxyListeners is the socket where an API proxy that starts gets the listeners
	// that APIProxyHoldUnit holds for it. It is in the runtime directory of that unit.
	APIProxyListeners = "/run/" + APIProxyRunName + "/listeners.sock"
	APIProxyRunName   = "pai-api-proxy"
	APIProxyHoldUnit  = "pai-api-proxy-hold.service"
	// APIProxyReplaceUnit replaces the API proxy, and APIProxyOutliveUnit ends the one that was
	// replaced once it has no connection.
	APIProxyReplaceUnit = "pai-api-proxy-replace.service"
	APIProxyOutliveUnit = "pai-api-proxy-outlive.service"
)

// LocalStorage is the directory of the storage that local machines have for jobs.
const LocalStorage = "/srv/pai/default"

// APIAddressLabel is the label of the API address on the loopback interface. The removal of
// Kubernetes finds the address by it.
const APIAddressLabel = "lo:pai"

// HostsFile names the machines. The lines of PAI end in HostsMark.
const (
	HostsFile = "/etc/hosts"
	HostsMark = "# pai"
)

// Files of Kubernetes and the container runtime.
const (
	AdminConf             = KubernetesDir + "/admin.conf"
	SuperAdminConf        = KubernetesDir + "/super-admin.conf" // exists only while the administrator gets its rights
	ControllerManagerConf = KubernetesDir + "/controller-manager.conf"
	SchedulerConf         = KubernetesDir + "/scheduler.conf"
	KubeletConf           = KubernetesDir + "/kubelet.conf"
	BootstrapKubeletConf  = KubernetesDir + "/bootstrap-kubelet.conf"

	KubeletClientCertificate  = KubeletPKIDir + "/kubelet-client-current.pem"
	KubeletServingCertificate = KubeletPKIDir + "/kubelet-server-current.pem"
	CPUManagerState           = KubeletDir + "/cpu_manager_state"
	MemoryManagerState        = KubeletDir + "/memory_manager_state"
	AuditDir                  = "/var/log/pai"  // audit logs of the API servers
	PodLogs                   = "/var/log/pods" // <namespace>_<pod>_<UID>/<container>/<restarts>.log

	CNIConfig = "/etc/cni/net.d/10-pai.conflist"

	// GPUSpecFile describes GPUs for the container runtime. A reboot removes it.
	GPUSpecFile = "/run/cdi/pai-gpu.json"
	// DevicePluginsDir has the socket of the kubelet for device plugins, and theirs.
	DevicePluginsDir   = KubeletDir + "/device-plugins"
	PodResourcesSocket = KubeletDir + "/pod-resources/kubelet.sock"

	ContainerdSocket = "/run/containerd/containerd.sock"
	ContainerdTasks  = "/run/containerd/io.containerd.runtime.v2.task" // a directory per namespace
)

// Files in the configuration directory of a version; see VersionFile.
const (
	KubeletConfigName    = "kubelet.yaml"
	ContainerdConfigName = "containerd.toml"
	KubeProxyConfigName  = "kube-proxy.yaml"
	NetworkConfigName    = "network.json"
	AuditPolicyName      = "audit-policy.yaml"
)

// Helper is the path of a helper with this sha256.
func Helper(digest string) string { return HelperDir + "/" + digest[:16] + "/pai-machine" }

// VersionDir is the directory of one Kubernetes version.
func VersionDir[V ~string](v V) string { return ProgramsDir + "/" + string(v) }

// Program is the path of a program of one version.
func Program[V ~string](v V, name string) string { return VersionDir(v) + "/bin/" + name }

// RunScript is the script that starts a role of one version.
func RunScript[V ~string](v V, r Role) string { return VersionDir(v) + "/run/" + string(r) }

// VersionFile is the path of a configuration file of one version.
func VersionFile[V ~string](v V, name string) string { return VersionDir(v) + "/etc/" + name }
