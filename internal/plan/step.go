package plan

import (
	"context"
	"slices"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// StepID names a step, and is the same in every plan that contains the step:
//
//	kubernetes/<version>/machine/<name>/<what>   one machine on its way to a Kubernetes version
//	kubernetes/<version>/cluster/<what>          the control plane on its way there; with several machines
//	                                             of it, etcd and the API server are steps of these
//	services/<release>/machine/<name>/images     the images that the services of a release need
//	services/<release>/<service>                 one service on its way to a release
//	services/<release>/migrate/<what>            something that PAI stores, in the form of a release
//	services/<release>/stop/<service>            a service that the release no longer has
//	services/<release>/record                    that all services are of a release
//	services/stop/<service>                      a service stopped on its own
//	services/refresh/<service>                   a service brought in line with the configuration
//	services/delete/<service>                    a service deleted
//	services/delete/<service>/volume             the files that it kept on machines
//	clean/machine/<name>                         Kubernetes removed from a machine
//	backup/<name>                                a backup
//	restore/machine/<name>/admit                 a machine uses a restored control plane
//	restore/open                                 every machine does
//	maintenance/machine/<name>/<what>            one machine on its way into maintenance, or out of it
//	keys/<key>/<what>                            a key that encrypts Secrets rotated, or removed
//	removal/machine/<name>/<what>                one machine on its way out of the cluster, or another that follows
//	removal/cluster/bootstrap                    what the cluster has for each machine, without one
//	uncordon/machine/<name>                      a cordon of PAI removed on its own
//	configuration/schema-<n>                     the configuration migrated to a schema version
//
// So "kubernetes/v0.10-pai/machine/gpu-03/kubelet" is the kubelet of gpu-03
// going to v0.10-pai, whether in one hop of several or in a boot.
type StepID string

// Role is a component that runs on a machine as a unit.
type Role = layout.Role

// The roles, as layout names them.
const (
	RoleRuntime           = layout.RoleRuntime
	RoleEtcdA             = layout.RoleEtcdA
	RoleEtcdB             = layout.RoleEtcdB
	RoleAPIServerA        = layout.RoleAPIServerA
	RoleAPIServerB        = layout.RoleAPIServerB
	RoleControllerManager = layout.RoleControllerManager
	RoleScheduler         = layout.RoleScheduler
	RoleAPIProxy          = layout.RoleAPIProxy
	RoleKubelet           = layout.RoleKubelet
	RoleKubeProxy         = layout.RoleKubeProxy
	RoleNetwork           = layout.RoleNetwork
	RoleGPU               = layout.RoleGPU
)

// A Step is one idempotent change to one target. It is data: it can be
// printed, compared, stored, and kept in a golden file.
type Step struct {
	ID     StepID         `json:"id"`
	Kind   Kind           `json:"kind"`
	Target string         `json:"target,omitempty"`
	Role   Role           `json:"role,omitempty"`  // for KindRole and KindRemoveRole
	From   pai.AnyVersion `json:"from,omitempty"`  // empty when nothing was there
	To     pai.AnyVersion `json:"to,omitempty"`    // the version that the target has afterwards; for KindImages the bundle's release
	After  []StepID       `json:"after,omitempty"` // steps that must have succeeded before
	Risk   pai.Risk       `json:"risk"`
	// Emulate is the upstream minor ("1.35") that a control-plane program of a
	// newer one behaves as, until the hop is committed; empty for none.
	Emulate string `json:"emulate,omitempty"`
	// APIServerAs is set on KindEtcd if the next step hands over to an API server that
	// behaves as this minor. If the etcd handover needs another API server, it already
	// starts that one.
	APIServerAs string `json:"apiServerAs,omitempty"`
	// Differs names what of the target differs although its version is right; see
	// the constants DiffersPrograms and so on.
	Differs []string `json:"differs,omitempty"`
	// Wipe is set on KindClean, KindDelete, and KindVolume if state is deleted too.
	Wipe bool `json:"wipe,omitempty"`

	// Phase, Schema, and Keep are not stored: the plan that runs is always a new one.

	// Phase groups steps in a listing: "kubernetes/v0.10-pai", "services".
	Phase string `json:"-"`
	// Schema is the schema version that a KindConfiguration step leads to.
	Schema int `json:"-"`
	// Keep are the paths that PAI did not write, which a KindClean step leaves alone.
	Keep []string `json:"-"`
}

// Back reports whether the step leads to an older version.
func (s Step) Back() bool { return s.To != "" && pai.CompareVersions(s.To, s.From) < 0 }

// StartsAPIServer reports whether the step can start an API server of another version,
// which must not start before the machines that it could not serve are upgraded.
func (s Step) StartsAPIServer() bool {
	return s.APIServerAs != "" || s.Kind.Traits().StartsAPIServer
}

// StartsMember reports whether the step starts the etcd of one machine of several, with its
// data or as a learner. It stops nothing, and members that were stopped need each other.
func (s Step) StartsMember() bool { return s.Kind == KindEtcd && s.Target != "" && s.From == "" }

// GrowsControlPlane reports whether the step makes a machine a part of the control plane.
func (s Step) GrowsControlPlane() bool {
	return s.Kind == KindSharedKeys || s.Kind == KindVoters || s.StartsMember()
}

// ChangesElectorate reports whether the control-plane machines of the layout vote on the lock
// before the step.
func (s Step) ChangesElectorate() bool { return s.GrowsControlPlane() || s.Kind == KindRemoveVoter }

// TakesTurn reports whether the step changes what serves the API on a control-plane machine.
// Where there are several of these machines, one such step runs at a time.
func (s Step) TakesTurn() bool {
	if s.Kind == KindRole {
		return electing(s.Role)
	}
	return kinds[s.Kind].ControlPlane && !s.StartsMember()
}

// StopsControlPlane reports whether the step can stop an etcd, an API server, or a
// control-plane machine, if it is one of several: all others must be healthy then.
func (s Step) StopsControlPlane() bool {
	replaces := (s.Kind == KindEtcd || s.Kind == KindAPIServer) && s.From != ""
	return s.Target != "" && (replaces || s.Kind == KindCommit || s.Kind == KindClean || s.Kind == KindStopServing)
}

// Reserves reports whether the step gives a kubelet the reservations of its version.
func (s Step) Reserves() bool { return slices.Contains(s.Differs, DiffersReservations) }

// HopKind is which of the two parts a hop moves.
type HopKind string

const (
	HopKubernetes HopKind = "kubernetes"
	HopServices   HopKind = "services"
)

// Hop is one allowed move of services or of Kubernetes to a newer version.
type Hop struct {
	Kind HopKind        `json:"kind"`
	From pai.AnyVersion `json:"from"`
	To   pai.AnyVersion `json:"to"`
}

// Reaches reports whether the hop ends at the versions of a release.
func (h Hop) Reaches(m release.Manifest) bool {
	if h.From == h.To {
		return false
	}
	if h.Kind == HopKubernetes {
		return h.To.Kubernetes().Compare(m.Kubernetes.Version) == 0
	}
	return h.To.Services().Compare(m.Services.Version) == 0
}

func servicesHop(from, to pai.ServicesVersion) Hop {
	return Hop{Kind: HopServices, From: pai.AnyVersion(from), To: pai.AnyVersion(to)}
}

func kubernetesHop(from, to pai.KubernetesVersion) Hop {
	return Hop{Kind: HopKubernetes, From: pai.AnyVersion(from), To: pai.AnyVersion(to)}
}

// Plan is an ordered set of steps from the observed state to a goal. The order
// respects After.
type Plan struct {
	Verb  pai.Verb `json:"verb"`
	From  pai.Pair `json:"from"`
	To    pai.Pair `json:"to"`
	Hops  []Hop    `json:"hops"`
	Steps []Step   `json:"steps"`
	// Notes are messages for the operator.
	Notes []string `json:"notes,omitempty"`
}

// A Doer does the steps of one Kind. Done checks the observed state, never the
// journal. Do can be called again after any interruption, and does what is left.
type Doer interface {
	Done(ctx context.Context, s Step) (bool, error)
	Do(ctx context.Context, s Step) error
}

// Doers maps every Kind to its Doer.
type Doers map[Kind]Doer
