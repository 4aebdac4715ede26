package plan

import "pai.dev/pai/internal/pai"

// World is what planning knows of the world, as it was observed at one moment.
type World struct {
	// ClusterID is empty while no cluster exists on the machines.
	ClusterID string `json:"clusterId,omitempty"`
	// APIReachable is false when the API did not answer; Services, Jobs and
	// the Node fields are then unknown, not empty.
	APIReachable bool `json:"apiReachable"`
	// APIError is why the API could not be read, when there should be one.
	APIError string               `json:"apiError,omitempty"`
	Machines []MachineState       `json:"machines"`
	Services map[string]Installed `json:"services"`
	Jobs     []pai.Job            `json:"jobs"`
	// Queued are the jobs that have neither begun to run nor ended.
	Queued []pai.JobRef `json:"queued,omitempty"`
	// Current is the pair that the cluster runs; a version is empty where
	// nothing is installed. Kubernetes is what cluster-record wrote last: it
	// changes at the end of a hop, so that a hop that was left half-done is
	// planned again. Services is OldestInstalled of Services, for the same reason.
	Current pai.Pair `json:"current"`
	// RecordedServices is the release whose services were all brought up last.
	// It stays when they are stopped, so that starting them again goes on from
	// there; and it is known while the API is away.
	RecordedServices pai.ServicesVersion `json:"recordedServices,omitempty"`
	// Unmigrated names the migrations of the releases that this paictl knows
	// whose old form is still what is stored.
	Unmigrated []string `json:"unmigrated,omitempty"`
	// Schema is that of the configuration; zero where it is not known.
	Schema int `json:"schema,omitempty"`
}

// MachineState is one machine of the configuration as it was observed.
type MachineState struct {
	Name         string `json:"name"`
	Address      string `json:"address"`
	ControlPlane bool   `json:"controlPlane"`
	// Unreachable says why the machine could not be asked; nothing below is
	// known then.
	Unreachable string                  `json:"unreachable,omitempty"`
	Prepared    bool                    `json:"prepared"`
	Joined      bool                    `json:"joined"` // kubelet has its identity in the cluster, and the certificate that it serves with
	Programs    []pai.KubernetesVersion `json:"programs"`
	Images      []string                `json:"images"` // digests of the bundles whose images are all there
	Roles       map[Role]RoleState      `json:"roles"`
	Node        *Node                   `json:"node,omitempty"`
}

// RoleState is one role on one machine.
type RoleState struct {
	// Link is the version that the role's link points to.
	Link pai.KubernetesVersion `json:"link,omitempty"`
	// Running is the version of the folder that the running program was
	// started from; empty when it does not run.
	Running pai.KubernetesVersion `json:"running,omitempty"`
	// Emulates is the upstream minor ("1.35") that the program behaves as; empty
	// where it behaves as its own.
	Emulates string `json:"emulates,omitempty"`
}

// Node is what the API says of a machine.
type Node struct {
	Ready         bool   `json:"ready"`
	Kubelet       string `json:"kubelet"` // upstream version, "v1.36.3"
	Unschedulable bool   `json:"unschedulable"`
	CordonedByPAI bool   `json:"cordonedByPAI"`
	// CordonedBy is the operation that cordoned it, where PAI did.
	CordonedBy       string `json:"cordonedBy,omitempty"`
	ContainerRuntime string `json:"containerRuntime"` // "containerd://2.2.3"
}

// Installed is a PAI service that was found in the cluster.
type Installed struct {
	Release pai.ServicesVersion `json:"release"` // the release it was applied from
	Ready   bool                `json:"ready"`
	Message string              `json:"message,omitempty"`
}

// OldestInstalled is the oldest release that a service was applied from; empty
// when there is none.
func OldestInstalled(services map[string]Installed) pai.ServicesVersion {
	var oldest pai.ServicesVersion
	for _, s := range services {
		if oldest == "" || s.Release.Less(oldest) {
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

// services is the release that the services which run are of. While the API is
// away nobody sees them, so they are those that were all brought up last.
func (w World) services() pai.ServicesVersion {
	if w.APIReachable {
		return w.Current.Services
	}
	return w.RecordedServices
}

// blind notes in a plan what nobody could see because the API is away. A plan
// with no steps is refused then: what is not seen is not done.
func (w World) noteAPIUnavailable(p *Plan) error {
	switch {
	case w.APIReachable:
		return nil
	case len(p.Steps) == 0:
		return w.unknown()
	case w.RecordedServices == "":
		p.Notes = append(p.Notes, "the API does not answer ("+w.APIError+"), so which services run is not known; run the command again for them")
	default:
		p.Notes = append(p.Notes, "the API does not answer ("+w.APIError+"), so the services are taken for those of "+string(w.RecordedServices)+", which were brought up last")
	}
	return nil
}

// unknown is why a plan without steps is none while the API is away.
func (w World) unknown() error {
	return pai.Errorf(pai.CodeFailed, "see that the API answers (paictl cluster status), and run the command again",
		"whether anything is left to do is not known, because the API does not answer (%s)", w.APIError)
}

// Running returns the jobs of which a container runs.
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
