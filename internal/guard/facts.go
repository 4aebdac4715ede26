package guard

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Fact is a value that was observed, or the reason why it was not. The zero
// Fact was not observed.
type Fact[T any] struct {
	value T
	known bool
	err   error
}

// Known returns a fact that was observed.
func Known[T any](v T) Fact[T] { return Fact[T]{value: v, known: true} }

// Unknown returns a fact that could not be observed because of err.
func Unknown[T any](err error) Fact[T] { return Fact[T]{err: err} }

// Observed returns v as a known fact or, with an error, an unknown fact.
func Observed[T any](v T, err error) Fact[T] {
	if err != nil {
		return Unknown[T](err)
	}
	return Known(v)
}

// observation is a Fact of any type. unknownReason is empty if it is known.
type observation interface{ unknownReason() string }

func (f Fact[T]) unknownReason() string {
	switch {
	case f.known:
		return ""
	case f.err == nil:
		return "not observed"
	default:
		return f.err.Error()
	}
}

// Facts are the facts about one machine that a decision is based on.
type Facts struct {
	// Jobs are all running jobs, as the API reports them now.
	Jobs Fact[[]pai.Job]
	// Containers are the living containers, as the machine reports them.
	Containers Fact[[]running.Container]

	// Node and Pods (all pods of the node that have not ended) are as the API
	// reports them.
	Node Fact[*corev1.Node]
	Pods Fact[[]corev1.Pod]

	// Kubelet and Runtime are upstream versions: the running one, and the one
	// that the step would start.
	Kubelet Fact[Transition[string]]
	Runtime Fact[Transition[string]]

	// KubeletRuns and RuntimeUp are as the machine reports them: the unit of the
	// kubelet is active, and the container runtime responds.
	KubeletRuns Fact[bool]
	RuntimeUp   Fact[bool]

	// Config is the configuration of the running kubelet and of the next one.
	Config Fact[Transition[KubeletConfig]]
	// RuntimeCgroups is the cgroup driver of the container runtime.
	RuntimeCgroups Fact[Transition[string]]
	// RuntimeKillMode is KillMode of the container runtime's unit.
	RuntimeKillMode Fact[string]
	// Shims are the answers of the shims on the machine; observed only for a step of
	// the container runtime.
	Shims Fact[[]inspect.Shim]
}

// Transition is a value before and after a step.
type Transition[T any] struct{ From, To T }

// KubeletConfig is the part of the kubelet configuration that decides whether
// pods survive a restart of the kubelet.
type KubeletConfig struct {
	CPUManagerPolicy      string `json:"cpuManagerPolicy"`
	MemoryManagerPolicy   string `json:"memoryManagerPolicy"`
	TopologyManagerPolicy string `json:"topologyManagerPolicy"`
	CgroupDriver          string `json:"cgroupDriver"`
	// Reserved is everything that makes allocatable smaller than capacity.
	Reserved map[string]string `json:"-"`
}

// FactSource observes the facts that decisions are based on. It returns what it
// cannot observe as an unknown fact.
type FactSource interface {
	// Jobs returns all running jobs.
	Jobs(ctx context.Context) Fact[[]pai.Job]
	// JobsOn returns the running jobs of a machine with only their pods on that
	// machine. On a large cluster this is much faster than Jobs.
	JobsOn(ctx context.Context, machine string) Fact[[]pai.Job]
	// Queued returns the jobs that have neither started nor ended.
	Queued(ctx context.Context) Fact[[]pai.JobRef]
	// Containers returns the living containers of a machine.
	Containers(ctx context.Context, machine string) Fact[[]running.Container]
	// Machine returns the other facts about the target of a step.
	Machine(ctx context.Context, step plan.Step) Facts
	// Voters returns whether a step stops a voter of etcd, with what the voters report.
	Voters(ctx context.Context, step plan.Step) Fact[Voters]
	// Kubelets returns the versions of the kubelets in the cluster, by machine.
	Kubelets(ctx context.Context) Fact[map[string]string]
}
