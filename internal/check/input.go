package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// Input is what the checks of one run are given, and what they observe through.
type Input struct {
	Config   *config.Config
	World    plan.World
	Releases []release.Manifest
	// Target is the release that is to run; Pair is what of it is moved to.
	Target release.Manifest
	Pair   pai.Pair
	// Plan leads from World to Target; PlanErr says why there is none.
	Plan    plan.Plan
	PlanErr error

	// Hosts are the machines by name.
	Hosts map[string]machine.Host
	// Kube gives a client, or an error while there is no cluster or its API is away.
	Kube func(ctx context.Context) (*kube.Client, error)
	// Bundle opens the bundle of a release.
	Bundle func(name pai.Release) (*release.Bundle, error)
	// Operation is what the journal and the lock say of other operations.
	Operation func(ctx context.Context) (Operation, error)
	// BlockedSteps are the steps of Plan that running jobs stand in the way of.
	BlockedSteps func(ctx context.Context) ([]BlockedStep, error)
}

// Operation is what is under way on a cluster.
type Operation struct {
	// Holder describes who holds the lock; empty where nobody does.
	Holder string
	// Unfinished was begun last and has not ended.
	Unfinished *pai.Operation
}

// BlockedStep is a step that would be refused, or would have to wait, now.
type BlockedStep struct {
	Step   plan.StepID
	Jobs   []pai.JobRef
	Reason string
	Next   string
}

// world is the input, and what is observed when a check asks for it.
type world struct {
	Input
	machines map[string]*memo[machineFacts]
	api      apiFacts
	targets  *memo[targetObjects]
}

func newWorld(ctx context.Context, in Input) *world {
	w := &world{Input: in, machines: map[string]*memo[machineFacts]{}}
	ports := neededPorts(in.Config)
	for _, m := range in.Config.Layout.MachineList {
		host := in.Hosts[m.Hostname]
		w.machines[m.Hostname] = observe(ctx, func(ctx context.Context) (machineFacts, error) {
			if host == nil {
				return machineFacts{}, fmt.Errorf("no connection was made to it")
			}
			return readMachine(ctx, host, ports)
		})
	}
	w.api = newAPIFacts(ctx, in)
	w.targets = observe(ctx, w.renderTarget)
	return w
}

// observed finds a machine of the configuration in the observed world.
func (w *world) observed(name string) plan.MachineState {
	for _, m := range w.World.Machines {
		if m.Name == name {
			return m
		}
	}
	return plan.MachineState{Name: name, Unreachable: "it was not looked at"}
}

// eachMachine judges every machine side by side by what it says of itself. One
// that cannot be asked is left to the check machine-reachable, so that it is
// reported once and not by every check.
func (w *world) eachMachine(ctx context.Context, judge func(config.Machine, machineFacts) []Result) []Result {
	list := w.Config.Layout.MachineList
	found := make([][]Result, len(list))
	asked := 0
	var wg sync.WaitGroup
	for i, m := range list {
		if w.Hosts[m.Hostname] == nil {
			continue
		}
		asked++
		wg.Go(func() {
			f, err := w.machines[m.Hostname].get(ctx)
			if err != nil {
				found[i] = []Result{unknown(m.Hostname, err)}
				return
			}
			found[i] = judge(m, f)
		})
	}
	wg.Wait()
	if asked == 0 {
		return []Result{unknown("", errNoMachine)}
	}
	return slices.Concat(found...)
}

var errNoMachine = errors.New("no machine answers")

// kubernetesRuns reports whether there is a cluster to look at.
func (w *world) kubernetesRuns() bool { return w.World.Current.Kubernetes != "" }
