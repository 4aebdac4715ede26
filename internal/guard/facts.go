package guard

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Fact is something that was observed, or the reason why it could not be. The
// zero Fact was not observed.
type Fact[T any] struct {
	value T
	known bool
	err   error
}

// Known is a fact that was observed.
func Known[T any](v T) Fact[T] { return Fact[T]{value: v, known: true} }

// Unknown is a fact that could not be observed.
func Unknown[T any](err error) Fact[T] { return Fact[T]{err: err} }

// Observed turns an answer into a fact.
func Observed[T any](v T, err error) Fact[T] {
	if err != nil {
		return Unknown[T](err)
	}
	return Known(v)
}

// why says why the fact is not known.
func (f Fact[T]) why() string {
	if f.err == nil {
		return "nobody looked"
	}
	return f.err.Error()
}

// Facts are what a decision about one machine rests on.
type Facts struct {
	// Jobs are all running jobs, as the API shows them now.
	Jobs Fact[[]pai.Job]
	// Containers are the living containers of the machine, as itself shows.
	Containers Fact[[]running.Container]

	// Node and Pods (all that are on it and have not ended) are the API's.
	Node Fact[*corev1.Node]
	Pods Fact[[]corev1.Pod]

	// Kubelet and Runtime are upstream versions: of what runs, and of what the
	// step would start.
	Kubelet Fact[Transition[string]]
	Runtime Fact[Transition[string]]

	// KubeletRuns and RuntimeUp are what the machine itself says: whether the
	// kubelet's unit runs, and whether the container runtime answers.
	KubeletRuns Fact[bool]
	RuntimeUp   Fact[bool]

	// Config is what the kubelet that runs was started with, and what the
	// next one will read.
	Config Fact[Transition[KubeletConfig]]
	// RuntimeCgroups is the cgroup driver of the container runtime.
	RuntimeCgroups Fact[Transition[string]]
	// RuntimeKillMode is KillMode of the container runtime's unit.
	RuntimeKillMode Fact[string]
}

// Transition is one thing before a step and after it.
type Transition[T any] struct{ From, To T }

// KubeletConfig is the part of a kubelet's configuration that decides whether
// the pods of a machine live through its restart.
type KubeletConfig struct {
	CPUManagerPolicy      string
	MemoryManagerPolicy   string
	TopologyManagerPolicy string
	CgroupDriver          string
	// Reserved is everything that makes allocatable smaller than capacity.
	Reserved map[string]string
}

// FactSource gathers the facts that decisions rest on. What it cannot
// observe it returns as an unknown fact.
type FactSource interface {
	// Jobs are all running jobs.
	Jobs(ctx context.Context) Fact[[]pai.Job]
	// JobsOn are the running jobs of a machine, with their pods on it alone: on
	// a large cluster a machine's own are read in no time, and all are not.
	JobsOn(ctx context.Context, machine string) Fact[[]pai.Job]
	// Queued are the jobs that have neither begun to run nor ended.
	Queued(ctx context.Context) Fact[[]pai.JobRef]
	// Containers are the living containers of a machine.
	Containers(ctx context.Context, machine string) Fact[[]running.Container]
	// Machine gathers the other facts about the target of a step.
	Machine(ctx context.Context, step plan.Step) Facts
	// Kubelets are the versions of the kubelets in the cluster, by machine.
	Kubelets(ctx context.Context) Fact[map[string]string]
}
