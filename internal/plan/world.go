package plan

import "pai.dev/pai/internal/pai"

// World is the observed state that plans are made from.
type World struct {
	// ClusterID is empty while no cluster exists on the machines.
	ClusterID string `json:"clusterId,omitempty"`
	// APIReachable is false during an API outage; Services, Jobs, and the Node
	// fields are then unknown, not empty.
	APIReachable bool `json:"apiReachable"`
	// APIError is why the API could not be read, if there should be one.
	APIError string               `json:"apiError,omitempty"`
	Machines []MachineState       `json:"machines"`
	Services map[string]Installed `json:"services"`
	Jobs     []pai.Job            `json:"jobs"`
	// Queued are the jobs that have neither started nor ended.
	Queued []pai.JobRef `json:"queued,omitempty"`
	// Current is the pair that the cluster runs; a version is empty where
	// nothing is installed. Kubernetes is what cluster-record wrote last: it
	// changes at the end of a hop, so that an incomplete hop is planned again.
	// Services is OldestInstalled, for the same reason.
	Current pai.Pair `json:"current"`
	// Manifests are the digests of the cluster's own objects as applied last.
	Manifests Manifests `json:"manifests,omitzero"`
	// RecordedServices is the release whose services were all brought up last.
	// It stays when they are stopped, so that they start again from that release,
	// and it is known during an API outage.
	RecordedServices pai.ServicesVersion `json:"recordedServices,omitempty"`
	// Unmigrated names the migrations of the releases that this paictl knows
	// whose old form is still what is stored.
	Unmigrated []string `json:"unmigrated,omitempty"`
	// Schema is that of the configuration; zero where it is not known.
	Schema int `json:"schema,omitempty"`
	// Unconfigured is what runs without being in the configuration.
	Unconfigured Unconfigured `json:"unconfigured"`
	// LocalEndpoints is set if pods reach the API through the API address, which each
	// machine has itself. In a cluster with one control-plane machine, they reach that machine.
	LocalEndpoints bool `json:"localEndpoints,omitempty"`
}

// MachineState is one machine of the configuration as it was observed.
type MachineState struct {
	Name         string `json:"name"`
	Address      string `json:"address"`
	ControlPlane bool   `json:"controlPlane"`
	// Member is what the machine is in etcd. It is also known of an unreachable machine if
	// another control-plane machine could be asked.
	Member Membership `json:"member,omitempty"`
	// Kind is the kind of the machine in the configuration.
	Kind MachineKind `json:"kind,omitzero"`
	// Maintenance is the record of the machine in maintenance; nil if it is not.
	Maintenance *pai.Maintenance `json:"maintenance,omitempty"`
	// Unreachable is why the machine could not be observed; the fields below are
	// unknown then.
	Unreachable string `json:"unreachable,omitempty"`
	Prepared    bool   `json:"prepared"`
	// PreparedAs is the digest of the files that the machine was prepared with.
	PreparedAs string                  `json:"preparedAs,omitempty"`
	Joined     bool                    `json:"joined"` // kubelet has its identity in the cluster, and the certificate that it serves with
	Programs   []pai.KubernetesVersion `json:"programs"`
	// ProgramDigests has the digest of the programs of each version; one that is
	// unknown is missing.
	ProgramDigests map[pai.KubernetesVersion]string `json:"programDigests,omitempty"`
	Images         []string                         `json:"images"` // digests of the bundles whose images are all there
	Roles          map[Role]RoleState               `json:"roles"`
	Node           *Node                            `json:"node,omitempty"`
	// Foreign are the paths in directories of PAI that PAI did not write; nil is unknown.
	Foreign []string `json:"foreign"`
	// BackupTimer says how the backups that a control-plane machine makes without an
	// operator differ from the configuration: one of the constants Timer…, or empty.
	BackupTimer string `json:"backupTimer,omitempty"`
	// DevicePlugin is the socket of a device plugin for GPUs that is not of PAI; empty if
	// there is none.
	DevicePlugin string `json:"devicePlugin,omitempty"`
}

// RoleState is one role on one machine.
type RoleState struct {
	// Link is the version that the role's link points to.
	Link pai.KubernetesVersion `json:"link,omitempty"`
	// Running is the version of the directory that the running program was
	// started from; empty when it does not run.
	Running pai.KubernetesVersion `json:"running,omitempty"`
	// Emulates is the upstream minor ("1.35") that the program behaves as; empty
	// where it behaves as its own.
	Emulates string `json:"emulates,omitempty"`
	// Elects is set if a controller manager or a scheduler works only while it is the leader
	// of all machines.
	Elects bool `json:"elects,omitempty"`
	Digests
}

// Digests say what a role is made of. Each is empty where it is unknown.
type Digests struct {
	// Programs is the digest of the programs that run.
	Programs string `json:"programsDigest,omitempty"`
	// Settings is the digest of the flags, files, and unit that the program was
	// started with.
	Settings string `json:"settingsDigest,omitempty"`
}

// Node is a machine as the API shows it.
type Node struct {
	Ready         bool   `json:"ready"`
	Kubelet       string `json:"kubelet"` // upstream version, "v1.36.3"
	Unschedulable bool   `json:"unschedulable"`
	CordonedByPAI bool   `json:"cordonedByPAI"`
	// CordonedBy is the operation that cordoned it, where PAI did.
	CordonedBy string `json:"cordonedBy,omitempty"`
	// Maintenance is the operation that cordoned it for maintenance, which only the
	// return of the machine undoes; InMaintenance is set once no job was left.
	Maintenance   string `json:"maintenance,omitempty"`
	InMaintenance bool   `json:"inMaintenance,omitempty"`
	// Unlabeled is set if the label that the maintenance needs is not there.
	Unlabeled        bool   `json:"unlabeled,omitempty"`
	ContainerRuntime string `json:"containerRuntime"` // "containerd://2.2.3"
	// Kind is the kind that jobs find on the node.
	Kind MachineKind `json:"kind,omitzero"`
}

// MachineKind is the kind of a machine, which jobs can choose; zero for none.
type MachineKind struct {
	SKU  string `json:"sku,omitempty"` // a name in machine-sku
	GPUs int    `json:"gpus,omitempty"`
}

// Installed is a PAI service that was found in the cluster.
type Installed struct {
	Release pai.ServicesVersion `json:"release"` // the release it was applied from
	Ready   bool                `json:"ready"`
	Message string              `json:"message,omitempty"`
}

// OldestInstalled is the oldest release that a service was applied from; empty if
// there is none. Unconfigured services do not count: no upgrade moves them.
func (w World) OldestInstalled() pai.ServicesVersion {
	var oldest pai.ServicesVersion
	for name, s := range w.Services {
		if s.Release != "" && !w.Unconfigured.HasService(name) && (oldest == "" || s.Release.Less(oldest)) {
			oldest = s.Release
		}
	}
	return oldest
}

// ServicesRelease is the release that the services are of, also when all of
// them are stopped; empty where none was ever started.
func (w World) ServicesRelease() pai.ServicesVersion {
	if w.Current.Services != "" {
		return w.Current.Services
	}
	return w.RecordedServices
}

// services is the version of the running services. During an API outage it is
// the version that was completely started last.
func (w World) services() pai.ServicesVersion {
	if w.APIReachable {
		return w.Current.Services
	}
	return w.RecordedServices
}

// noteAPIUnavailable adds a note about unknown services to a plan. A plan without
// steps is an error then: what is not observed is not done.
func (w World) noteAPIUnavailable(p *Plan) error {
	switch {
	case w.APIReachable:
		return nil
	case len(p.Steps) == 0:
		return w.unknown()
	case w.RecordedServices == "":
		p.Notes = append(p.Notes, w.APIOutage()+", so the running services are unknown; run the command again for them")
	default:
		p.Notes = append(p.Notes, w.APIOutage()+", so the plan assumes the services of "+string(w.RecordedServices)+", which was deployed last")
	}
	return nil
}

// APIOutage describes an API outage, with its cause if that is known.
func (w World) APIOutage() string {
	const outage = "the API server is not responding"
	if w.APIError == "" {
		return outage
	}
	return outage + " (" + w.APIError + ")"
}

// unknown is the error for a plan without steps during an API outage.
func (w World) unknown() error {
	return pai.Errorf(pai.CodeFailed, "restore the API server and run the command again; for its state, run: paictl cluster status",
		"cannot determine which steps are left: %s", w.APIOutage())
}

// Running returns the jobs with a running container.
func (w World) Running() []pai.Job {
	var jobs []pai.Job
	for _, j := range w.Jobs {
		if j.Running() {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// Pins says, per Kubernetes version, which upstream version each program has
// ("etcd" → "v3.6.8"). Roles none of whose programs change between two versions
// are left alone by a hop.
type Pins map[pai.KubernetesVersion]map[string]string
