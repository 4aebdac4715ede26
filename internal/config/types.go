package config

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Config is a whole configuration, with every default filled in.
type Config struct {
	// Dir is the directory it was loaded from.
	Dir        string
	Layout     Layout
	Kubernetes Kubernetes
	Services   Services
}

// Layout is layout.yaml, or cluster-configuration.yaml after its migration.
type Layout struct {
	// SchemaVersion is the oldest of any of the files.
	SchemaVersion int            `yaml:"-" json:"schema-version"`
	MachineSKU    map[string]SKU `yaml:"machine-sku,omitempty" json:"machine-sku,omitempty"`
	MachineList   []Machine      `yaml:"machine-list" json:"machine-list"`
}

// SKU describes machines of one kind.
type SKU struct {
	Mem int     `yaml:"mem,omitempty" json:"mem,omitempty"` // GiB
	CPU SKUCPU  `yaml:"cpu,omitempty" json:"cpu,omitzero"`
	GPU *SKUGPU `yaml:"gpu,omitempty" json:"gpu,omitempty"`
}

// SKUCPU is the CPU of a machine of one SKU.
type SKUCPU struct {
	VCore int `yaml:"vcore,omitempty" json:"vcore,omitempty"`
}

// SKUGPU is the GPUs of a machine of one SKU.
type SKUGPU struct {
	Type  string `yaml:"type" json:"type"`
	Count int    `yaml:"count" json:"count"`
}

// The values of Machine.Role.
const (
	RoleControlPlane = "master"
	RoleWorker       = "worker"
)

// Machine is one entry of the machine list.
type Machine struct {
	Hostname    string `yaml:"hostname" json:"hostname"` // name of the machine and of its node
	HostIP      string `yaml:"hostip" json:"hostip"`
	MachineType string `yaml:"machine-type,omitempty" json:"machine-type,omitempty"`
	SSHPort     int    `yaml:"sshport,omitempty" json:"sshport,omitempty"` // default 22
	Username    string `yaml:"username" json:"username"`                   // default root
	KeyfilePath string `yaml:"keyfile-path,omitempty" json:"keyfile-path,omitempty"`
	Password    Secret `yaml:"password,omitempty" json:"-"` // used if no key is named
	Role        string `yaml:"k8s-role" json:"k8s-role"`    // RoleControlPlane or RoleWorker
	// About is written as a comment beside the machine; it is not read.
	About string `yaml:"-" json:"-"`
}

// Secret is a text that is never printed: it is shown as asterisks.
type Secret string

func (s Secret) String() string { return strings.Repeat("*", min(len(s), 8)) }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) GoString() string { return s.String() }

// MarshalJSON returns asterisks.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// IsControlPlane reports whether the machine is a control-plane machine.
func (m Machine) IsControlPlane() bool { return m.Role == RoleControlPlane }

// Kubernetes is the kubernetes section of kubernetes-configuration.yaml.
type Kubernetes struct {
	Version               pai.KubernetesVersion `yaml:"version" json:"version"`                                             // "v0.10-pai"
	ServiceClusterIPRange string                `yaml:"service-cluster-ip-range,omitempty" json:"service-cluster-ip-range"` // default 10.96.0.0/16
	PodClusterIPRange     string                `yaml:"pod-cluster-ip-range,omitempty" json:"pod-cluster-ip-range"`         // default 10.244.0.0/16
	ClusterDNS            string                `yaml:"cluster-dns,omitempty" json:"cluster-dns"`                           // default the 10th address of the service range
	APIServersPort        int                   `yaml:"api-servers-port,omitempty" json:"api-servers-port"`                 // default 6443
	ServiceNodePortRange  string                `yaml:"service-node-port-range,omitempty" json:"service-node-port-range"`   // default 9000-9999
	// APIAddress is the address of the API for pods on every machine, where several machines
	// are control-plane machines.
	APIAddress string `yaml:"api-address,omitempty" json:"api-address"` // default 100.127.255.1
	// TaskNetworks are the networks outside of the cluster that tasks reach.
	TaskNetworks []string `yaml:"task-networks" json:"task-networks"` // default 0.0.0.0/0
	// TaskPorts are ports of machines, and of services, that tasks reach; see ParseTaskPort.
	TaskPorts []string `yaml:"task-ports,omitempty" json:"task-ports,omitempty"`
	// Backup says how the control-plane machine backs itself up; nil if it does not.
	Backup *Backup `yaml:"backup,omitempty" json:"backup,omitempty"`
}

// Backup is kubernetes.backup. It has either Every or Calendar.
type Backup struct {
	To         string   `yaml:"to" json:"to"`
	Every      string   `yaml:"every,omitempty" json:"every,omitempty"`
	Calendar   string   `yaml:"calendar,omitempty" json:"calendar,omitempty"`
	Keep       int      `yaml:"keep,omitempty" json:"keep"` // default 14
	Recipients []string `yaml:"recipients" json:"recipients"`
	// S3 says how the bucket of To is reached; nil if To is a directory.
	S3 *BackupS3 `yaml:"s3,omitempty" json:"s3,omitempty"`
}

// BackupS3 is kubernetes.backup.s3. The files are on the control-plane machine.
type BackupS3 struct {
	Endpoint        string `yaml:"endpoint,omitempty" json:"endpoint,omitempty"` // empty: AWS
	Region          string `yaml:"region,omitempty" json:"region"`               // default us-east-1
	CredentialsFile string `yaml:"credentials-file" json:"credentials-file"`
	CAFile          string `yaml:"ca-file,omitempty" json:"ca-file,omitempty"`
}

// Services is services-configuration.yaml.
type Services struct {
	Cluster      Cluster      `yaml:"cluster" json:"cluster"`
	RestServer   RestServer   `yaml:"rest-server,omitempty" json:"rest-server"`
	Webportal    Webportal    `yaml:"webportal,omitempty" json:"webportal"`
	Prometheus   Prometheus   `yaml:"prometheus,omitempty" json:"prometheus"`
	NodeExporter NodeExporter `yaml:"node-exporter,omitempty" json:"node-exporter"`
	AlertManager AlertManager `yaml:"alert-manager,omitempty" json:"alert-manager,omitzero"`
	// VirtualClusters by name; default one, "default", with all resources.
	VirtualClusters map[string]VirtualCluster `yaml:"virtual-clusters,omitempty" json:"virtual-clusters"`
	// Storages by name; default none.
	Storages map[string]Storage `yaml:"storages,omitempty" json:"storages,omitempty"`
}

// Cluster is what all services share.
type Cluster struct {
	Common Common `yaml:"common" json:"common"`
}

// Common is cluster.common.
type Common struct {
	ClusterID string      `yaml:"cluster-id" json:"cluster-id"`
	Release   pai.Release `yaml:"release" json:"release"` // the release whose services the cluster runs
	// TrustedBundleKeys are base64 Ed25519 public keys; bundles signed by any
	// other key are refused.
	TrustedBundleKeys []string `yaml:"trusted-bundle-keys" json:"trusted-bundle-keys"`
	// HistoryLimit is how many operations and how many revisions stay recorded.
	HistoryLimit int `yaml:"history-limit,omitempty" json:"history-limit"` // default 50
}

// RestServer configures the PAI REST server.
type RestServer struct {
	ServerPort int `yaml:"server-port,omitempty" json:"server-port"` // default 9186
	// EndedJobsLimit is how many ended jobs of a virtual cluster stay in the cluster,
	// EndedJobsDays for how long.
	EndedJobsLimit int `yaml:"ended-jobs-limit,omitempty" json:"ended-jobs-limit"` // default 1000
	EndedJobsDays  int `yaml:"ended-jobs-days,omitempty" json:"ended-jobs-days"`   // default 30
	// JobList says whose jobs users see in the list of jobs.
	JobList string `yaml:"job-list,omitempty" json:"job-list"` // default own
	// HistoryDatabase says where jobs are kept after they left the cluster: sqlite,
	// postgresql, or none.
	HistoryDatabase string `yaml:"history-database,omitempty" json:"history-database"` // default sqlite
	// HistoryLimit and HistoryDays say how many jobs the history keeps, and how long.
	HistoryLimit int `yaml:"history-limit,omitempty" json:"history-limit"` // default 200000
	HistoryDays  int `yaml:"history-days,omitempty" json:"history-days"`   // default 3650
}

// Webportal configures the web portal.
type Webportal struct {
	ServerPort int `yaml:"server-port,omitempty" json:"server-port"` // default 9286, or a free port
}

// Prometheus configures Prometheus.
type Prometheus struct {
	Port           int `yaml:"port,omitempty" json:"port"`                       // default 9091
	ScrapeInterval int `yaml:"scrape_interval,omitempty" json:"scrape_interval"` // seconds, default 30
}

// NodeExporter configures node_exporter.
type NodeExporter struct {
	Port int `yaml:"port,omitempty" json:"port"` // default 9100
}

// VirtualCluster is a share of the machines. A zero limit means no limit.
type VirtualCluster struct {
	CPU      int `yaml:"cpu,omitempty" json:"cpu,omitempty"` // cores
	MemoryMB int `yaml:"memory-mb,omitempty" json:"memory-mb,omitempty"`
	GPU      int `yaml:"gpu,omitempty" json:"gpu,omitempty"`
	// Capabilities are those of pai.GrantableCapabilities that its tasks have in
	// addition to those of every task.
	Capabilities []string `yaml:"capabilities,omitempty" json:"capabilities,omitempty"`
	// TaskDiskMB is the disk space that a task can fill; zero is the default of jobs.
	TaskDiskMB int `yaml:"task-disk-mb,omitempty" json:"task-disk-mb,omitempty"`
	// Borrow lets jobs use what others lend, beyond the limits of the virtual cluster.
	Borrow         bool `yaml:"borrow,omitempty" json:"borrow,omitempty"`
	BorrowCPU      int  `yaml:"borrow-cpu,omitempty" json:"borrow-cpu,omitempty"` // cores
	BorrowMemoryMB int  `yaml:"borrow-memory-mb,omitempty" json:"borrow-memory-mb,omitempty"`
	BorrowGPU      int  `yaml:"borrow-gpu,omitempty" json:"borrow-gpu,omitempty"`
	// Lend lets jobs of others use what the virtual cluster does not use of its limits.
	Lend         bool `yaml:"lend,omitempty" json:"lend,omitempty"`
	LendCPU      int  `yaml:"lend-cpu,omitempty" json:"lend-cpu,omitempty"` // cores
	LendMemoryMB int  `yaml:"lend-memory-mb,omitempty" json:"lend-memory-mb,omitempty"`
	LendGPU      int  `yaml:"lend-gpu,omitempty" json:"lend-gpu,omitempty"`
	// Weight is the part of what is lent that the virtual cluster is given before others;
	// zero is 1.
	Weight int `yaml:"weight,omitempty" json:"weight,omitempty"`
}

// Storage is data that jobs mount.
type Storage struct {
	Type     string   `yaml:"type" json:"type"`                         // pai.StorageNFS or pai.StorageDirectory
	Server   string   `yaml:"server,omitempty" json:"server,omitempty"` // of NFS
	Path     string   `yaml:"path" json:"path"`
	ReadOnly bool     `yaml:"read-only,omitempty" json:"read-only,omitempty"`
	PerUser  bool     `yaml:"per-user,omitempty" json:"per-user,omitempty"`
	Default  bool     `yaml:"default,omitempty" json:"default,omitempty"`
	Groups   []string `yaml:"groups,omitempty" json:"groups,omitempty"`
}

// PodSecurity is the Pod Security level of the namespace of the virtual cluster. With
// a capability that "baseline" refuses, only the admission policy of jobs limits pods.
func (v VirtualCluster) PodSecurity() string {
	if pai.InBaseline(v.Capabilities) {
		return "baseline"
	}
	return "privileged"
}

// ControlPlane returns the control-plane machine, the zero Machine if there is
// none.
func (c *Config) ControlPlane() Machine {
	for _, m := range c.Layout.MachineList {
		if m.IsControlPlane() {
			return m
		}
	}
	return Machine{}
}

// ControlPlanes are the control-plane machines, in the order of the layout.
func (c *Config) ControlPlanes() []Machine {
	return slices.DeleteFunc(slices.Clone(c.Layout.MachineList), func(m Machine) bool { return !m.IsControlPlane() })
}

// SeveralControlPlanes reports whether more than one machine is a control-plane machine.
func (c *Config) SeveralControlPlanes() bool { return len(c.ControlPlanes()) > 1 }

// Master is ControlPlane for the service templates of v0.9 and v0.10, which are
// rendered with this type.
func (c *Config) Master() Machine { return c.ControlPlane() }

// FindMachine returns the machine with a name.
func (c *Config) FindMachine(name string) (Machine, bool) {
	for _, m := range c.Layout.MachineList {
		if m.Hostname == name {
			return m, true
		}
	}
	return Machine{}, false
}

// MachineNames are the names of all machines, in the order of the layout.
func (c *Config) MachineNames() []string {
	var names []string
	for _, m := range c.Layout.MachineList {
		names = append(names, m.Hostname)
	}
	return names
}

// Workers are the machines without the control plane.
func (c *Config) Workers() []Machine {
	var w []Machine
	for _, m := range c.Layout.MachineList {
		if !m.IsControlPlane() {
			w = append(w, m)
		}
	}
	return w
}

// Release is the release whose services the configuration asks for.
func (c *Config) Release() pai.Release { return pai.Canonical(c.Services.Cluster.Common.Release) }

// HistoryLimit is how many operations and revisions stay recorded.
func (c *Config) HistoryLimit() int {
	return cmp.Or(c.Services.Cluster.Common.HistoryLimit, DefaultHistoryLimit)
}

// Pair is the state that the configuration asks for. It names the services by
// their release.
func (c *Config) Pair() pai.Pair {
	return pai.Pair{Services: pai.ServicesVersion(c.Release()), Kubernetes: pai.Canonical(c.Kubernetes.Version)}
}
