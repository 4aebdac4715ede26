package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// Input is what the checks of one run start from and observe through.
type Input struct {
	Config   *config.Config
	World    plan.World
	Releases []release.Manifest
	// Target is the target release. Pair are the target versions of the operation.
	Target release.Manifest
	Pair   pai.Pair
	// Plan leads from World to Target. PlanErr is why there is no plan.
	Plan    plan.Plan
	PlanErr error

	// Hosts are the machines by name.
	Hosts map[string]machine.Host
	// leftOut are the machines that this run does not check.
	leftOut map[string]bool
	// Kube returns a client, or an error if there is no cluster or its API server is
	// unavailable.
	Kube func(ctx context.Context) (*kube.Client, error)
	// Bundle opens the bundle of a release.
	Bundle func(name pai.Release) (*release.Bundle, error)
	// Operation reads the journal and the lock.
	Operation func(ctx context.Context) (Operation, error)
	// LastBackup is when the newest backup of the journal ended; zero without one. It
	// is nil if none is needed.
	LastBackup func(ctx context.Context) (time.Time, error)
	// BlockedSteps returns the steps of Plan that running jobs block.
	BlockedSteps func(ctx context.Context) ([]BlockedStep, error)
}

// Operation is the operation in progress on a cluster.
type Operation struct {
	// Holder describes the lock holder; empty if the lock is free.
	Holder string
	// Unfinished is the last operation if it has not ended.
	Unfinished *pai.Operation
}

// BlockedStep is a step that would be refused, or would have to wait, now.
type BlockedStep struct {
	Step   plan.StepID
	Jobs   []pai.JobRef
	Reason string
	Next   string
}

// world is the input, and what is observed when a check needs it.
type world struct {
	Input
	machines map[string]*memo[machineFacts]
	api      apiFacts
	target   *memo[targetObjects]
	// definitionsOf are the definitions that the plan applies for a release.
	definitionsOf func(ctx context.Context, m release.Manifest) ([]apiextensions.CustomResourceDefinition, error)
}

func newWorld(ctx context.Context, in Input) *world {
	w := &world{Input: in, machines: map[string]*memo[machineFacts]{}}
	ports := neededPorts(in.Config)
	for name, host := range in.Hosts {
		w.machines[name] = observe(ctx, func(ctx context.Context) (machineFacts, error) { return readMachine(ctx, host, ports) })
	}
	w.api = newAPIFacts(ctx, in)
	w.target = observe(ctx, w.renderTarget)
	w.definitionsOf = w.renderDefinitions
	return w
}

// observed returns the observed state of a machine of the configuration.
func (w *world) observed(name string) plan.MachineState {
	i := slices.IndexFunc(w.World.Machines, func(m plan.MachineState) bool { return m.Name == name })
	if i < 0 {
		return plan.MachineState{Name: name, Unreachable: "not observed"}
	}
	return w.World.Machines[i]
}

// onCluster is for a check that needs a running Kubernetes.
func onCluster(evaluate evaluateFunc) evaluateFunc {
	return func(ctx context.Context, w *world) ([]Result, error) {
		if w.World.Current.Kubernetes == "" {
			return nil, w.unobserved()
		}
		return evaluate(ctx, w)
	}
}

// unobserved is an error if the control-plane machine was not observed, which has the
// record of the cluster: whether there is a cluster is then unknown.
func (w *world) unobserved() error {
	if why := w.World.UnknownControlPlane(); why != "" {
		return fmt.Errorf("the control-plane machine was not observed: %s", why)
	}
	return nil
}

// onAPI is for a check that needs the API.
func onAPI(evaluate func(ctx context.Context, w *world, client *kube.Client) ([]Result, error)) evaluateFunc {
	return onCluster(func(ctx context.Context, w *world) ([]Result, error) {
		client, err := w.api.client.get(ctx)
		if err != nil {
			return nil, err
		}
		return evaluate(ctx, w, client)
	})
}

// onNodes is for a check that evaluates each node.
func onNodes(evaluate func(w *world, n *corev1.Node) Result) evaluateFunc {
	return onCluster(func(ctx context.Context, w *world) ([]Result, error) {
		nodes, err := w.api.nodes.get(ctx)
		var all []Result
		for i := range nodes {
			all = append(all, evaluate(w, &nodes[i]))
		}
		return all, err
	})
}

// observedMachine is a machine with what it reports about itself.
type observedMachine struct {
	config.Machine
	machineFacts
	state plan.MachineState
}

// hasKubelet reports whether the machine has the kubelet of PAI. One that was cleaned keeps
// its identity in the cluster, and so does one whose boot was interrupted, without a kubelet.
func (m observedMachine) hasKubelet() bool { return m.hasRole(plan.RoleKubelet) }

// hasRole reports whether the machine has, or runs, a program of PAI.
func (m observedMachine) hasRole(r plan.Role) bool {
	return m.state.Roles[r].Link != "" || m.state.Roles[r].Running != ""
}

var errNoMachine = errors.New("all machines are unreachable")

// onMachines is for a check that evaluates each machine.
func onMachines(evaluate func(m observedMachine) Result) evaluateFunc {
	return func(ctx context.Context, w *world) ([]Result, error) { return w.eachMachine(ctx, evaluate) }
}

// eachMachine evaluates every machine in parallel. A machine without a connection, or
// one that does not run what PAI sends, is only in the result of machine-reachable: the
// plan does not change it. The zero Result means that there is nothing to check yet.
func (w *world) eachMachine(ctx context.Context, evaluate func(m observedMachine) Result) ([]Result, error) {
	reachable := slices.DeleteFunc(slices.Clone(w.Config.Layout.MachineList), func(m config.Machine) bool {
		return w.Hosts[m.Hostname] == nil || w.observed(m.Hostname).Unreachable != ""
	})
	if len(reachable) == 0 {
		return nil, errNoMachine
	}
	all := parallel(reachable, func(m config.Machine) Result {
		facts, err := w.machines[m.Hostname].get(ctx)
		if err != nil {
			return unknown(m.Hostname, err)
		}
		return evaluate(observedMachine{m, facts, w.observed(m.Hostname)})
	})
	return slices.DeleteFunc(all, func(r Result) bool { return r == Result{} }), nil
}

// memo is a value that is observed once per run, when the first check needs it.
type memo[T any] struct {
	run   context.Context // of the whole run: the end of one check must not affect others
	read  func(context.Context) (T, error)
	once  sync.Once
	done  chan struct{}
	value T
	err   error
}

func observe[T any](run context.Context, read func(context.Context) (T, error)) *memo[T] {
	return &memo[T]{run: run, read: read, done: make(chan struct{})}
}

// get waits for the observation until ctx ends.
func (m *memo[T]) get(ctx context.Context) (T, error) {
	m.once.Do(func() { go m.observe() })
	select {
	case <-m.done:
		return m.value, m.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (m *memo[T]) observe() {
	defer close(m.done)
	defer func() {
		if p := recover(); p != nil {
			m.err = fmt.Errorf("the observation panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeoutCause(m.run, timeout, fmt.Errorf("not within %s", timeout))
	defer cancel()
	m.value, m.err = m.read(ctx)
}
