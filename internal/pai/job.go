package pai

import (
	"strings"
	"time"
)

// Labels that every pod of a job carries. They are decided by the release
// that started the job and never change afterwards.
const (
	LabelJob            = "pai.dev/job"             // the job's object name, a DNS label
	LabelUser           = "pai.dev/user"            // the submitting user
	LabelTaskRole       = "pai.dev/task-role"       // the task role's name
	LabelVirtualCluster = "pai.dev/virtual-cluster" // the virtual cluster's name
	// AnnotationJobName holds the job's name as its user wrote it.
	AnnotationJobName = "pai.dev/job-name"
	// AnnotationNetwork is set on the tasks of jobs that v0.11 and newer accept, with the
	// job's object name: the network program of their machines keeps them apart from
	// other jobs and from the machines.
	AnnotationNetwork = "pai.dev/network"
	// AnnotationStopped is set on a job's JobSet by PAI before PAI stops it,
	// with the time (RFC 3339) and who asked. A job that ends without it was
	// not stopped by its user.
	AnnotationStopped = "pai.dev/stopped"
	// AnnotationTags of a JobSet has the tags of the job, separated by commas.
	AnnotationTags = "pai.dev/tags"
)

// The labels of a JobSet that decide whether it can run.
const (
	// LabelMachineSKU is the label of a node with the machine-sku of its machine. Jobs
	// choose a kind of machine by it.
	LabelMachineSKU = "pai.dev/machine-sku"
	// AnnotationMachineGPUs of a node is how many GPUs its machine-sku has.
	AnnotationMachineGPUs = "pai.dev/machine-gpus"
	// LabelQueue is the label of Kueue for the queue that admits an object
	// (sigs.k8s.io/kueue/pkg/controller/constants).
	LabelQueue = "kueue.x-k8s.io/queue-name"
	// LabelStop is how far the stop of a job is.
	LabelStop     = "pai.dev/stop"
	StopRequested = "requested"
	StopDone      = "done"
)

// AnnotationCordoned is set on a node by PAI when it cordons it, with the
// operation's id. A node that is unschedulable without it was cordoned by an
// operator and stays so.
const AnnotationCordoned = "pai.dev/cordoned-by"

// ClusterConfigMap, in SystemNamespace, says which cluster this is and what it
// runs: clusterId, kubernetes, services.
const ClusterConfigMap = "pai-cluster"

// SystemNamespace is where the PAI services run.
const SystemNamespace = "pai-system"

// UsersSecret, in SystemNamespace, has the users of the REST server and the hashes of
// their tokens. A restore of etcd does not change it, so a revoked token stays revoked.
const UsersSecret = "rest-server-users"

// VirtualClusterNamespacePrefix and a virtual cluster's name make the
// namespace that its jobs run in.
const VirtualClusterNamespacePrefix = "pai-vc-"

// The Secrets with the certificates of the REST server and the portal, and with the
// authority of both.
const (
	RESTServerTLS = "rest-server-tls"
	PortalTLS     = "portal-tls"
	RESTServerCA  = "rest-server-ca"
)

// MetricsTLS has the certificate of node-exporter on all machines, of the same authority,
// and MetricsServer is the name in it, which Prometheus checks.
const (
	MetricsTLS    = "metrics-tls"
	MetricsServer = "node-exporter"
)

// FieldManager is the one name under which PAI writes to the cluster.
const FieldManager = "pai"

// JobRef names a job as its users do.
type JobRef struct {
	User           string `json:"user"`
	Name           string `json:"name"`
	VirtualCluster string `json:"virtualCluster,omitempty"`
}

func (r JobRef) String() string { return r.User + "~" + r.Name }

// JobRefs are the jobs of a sentence.
type JobRefs []JobRef

// String joins the names of the jobs; without jobs it is "nothing".
func (r JobRefs) String() string {
	if len(r) == 0 {
		return "nothing"
	}
	names := make([]string, len(r))
	for i, j := range r {
		names[i] = j.String()
	}
	return strings.Join(names, ", ")
}

// Job is a job as the cluster shows it at one moment.
type Job struct {
	JobRef
	// Object is the name that the job's Kubernetes objects share.
	Object string `json:"object"`
	// Stopped is true when PAI was asked to stop the job.
	Stopped bool  `json:"stopped,omitempty"`
	Pods    []Pod `json:"pods"`
}

// Running reports whether any container of the job runs.
func (j Job) Running() bool {
	for _, p := range j.Pods {
		for _, c := range p.Containers {
			if c.State == ContainerRunning {
				return true
			}
		}
	}
	return false
}

// Machines lists the machines that running pods of the job are on.
func (j Job) Machines() []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range j.Pods {
		if p.Machine != "" && p.Running() && !seen[p.Machine] {
			seen[p.Machine] = true
			names = append(names, p.Machine)
		}
	}
	return names
}

// Pod is one pod of a job.
type Pod struct {
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	UID        string      `json:"uid"`
	Machine    string      `json:"machine"` // node name; empty until scheduled
	Phase      string      `json:"phase"`
	Containers []Container `json:"containers"`
}

// Running reports whether any container of the pod runs.
func (p Pod) Running() bool {
	for _, c := range p.Containers {
		if c.State == ContainerRunning {
			return true
		}
	}
	return false
}

// ContainerState is the state of a container as the API or the runtime shows it.
type ContainerState string

const (
	ContainerWaiting ContainerState = "waiting"
	ContainerRunning ContainerState = "running"
	ContainerExited  ContainerState = "exited"
)

// Container is one container of a pod.
type Container struct {
	Name      string         `json:"name"`
	ID        string         `json:"id"` // without the runtime's scheme prefix
	Restarts  int            `json:"restarts"`
	State     ContainerState `json:"state"`
	StartedAt time.Time      `json:"startedAt,omitzero"`
	ExitCode  int            `json:"exitCode,omitempty"`
}
