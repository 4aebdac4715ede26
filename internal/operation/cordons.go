package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// nodes changes the nodes of the cluster.
type nodes interface {
	Cordon(ctx context.Context, machine, operation string) (bool, error)
	Uncordon(ctx context.Context, machine string) error
	EvictJobs(ctx context.Context, machine string) error
}

// clusterNodes are the nodes of a session's cluster.
type clusterNodes struct{ s *session.Session }

func (n clusterNodes) api(ctx context.Context) (kubernetes.Interface, error) {
	client, err := n.s.Kube(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the API: %w", err)
	}
	return client.Clientset(), nil
}

func (n clusterNodes) Cordon(ctx context.Context, machine, operation string) (bool, error) {
	api, err := n.api(ctx)
	if err != nil {
		return false, err
	}
	return cluster.Cordon(ctx, api, machine, operation)
}

func (n clusterNodes) Uncordon(ctx context.Context, machine string) error {
	api, err := n.api(ctx)
	if err != nil {
		return err
	}
	return cluster.Uncordon(ctx, api, machine)
}

func (n clusterNodes) EvictJobs(ctx context.Context, machine string) error {
	api, err := n.api(ctx)
	if err != nil {
		return err
	}
	return cluster.EvictJobs(ctx, api, machine)
}

// liftedCordons are the machines that PAI uncordons during an operation so that
// the pods of rolled services can be scheduled.
type liftedCordons struct {
	nodes  nodes
	lifted map[string]string // machine → the operation that cordoned it
}

// liftCordons uncordons machines that PAI cordoned if the plan rolls pods and no
// machine is schedulable. Control-plane machines are always uncordoned, because
// some services store their state there. Cordons of the operator stay. No plan that
// empties a machine rolls pods.
func liftCordons(ctx context.Context, n nodes, p plan.Plan, w plan.World) (liftedCordons, error) {
	l := liftedCordons{nodes: n, lifted: map[string]string{}}
	if !slices.ContainsFunc(p.Steps, rollsPods) {
		return l, nil
	}
	schedulable := slices.ContainsFunc(w.Machines, func(m plan.MachineState) bool { return m.Node != nil && !m.Node.Unschedulable })
	for _, m := range w.Machines {
		if m.Node == nil || !m.Node.CordonedByPAI || (schedulable && !m.ControlPlane) {
			continue
		}
		if err := n.Uncordon(ctx, m.Name); err != nil {
			ctx, cancel := cleanupContext(ctx)
			defer cancel()
			return l, errors.Join(err, l.restoreCordons(ctx, p, run.Result{}))
		}
		l.lifted[m.Name] = m.Node.CordonedBy
	}
	return l, nil
}

func rollsPods(s plan.Step) bool {
	return s.Kind.Traits().RollsPods
}

// restoreCordons cordons the machines again, except those that the plan
// uncordoned.
func (l liftedCordons) restoreCordons(ctx context.Context, p plan.Plan, result run.Result) error {
	var problems []error
	for machine, operation := range l.lifted {
		if !isUncordoned(p, result, machine) {
			_, err := l.nodes.Cordon(ctx, machine, operation)
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// isUncordoned reports whether a step of the plan uncordoned a machine.
func isUncordoned(p plan.Plan, result run.Result, machine string) bool {
	for i, s := range p.Steps {
		if s.Kind == plan.KindUncordon && s.Target == machine && i < len(result.Steps) {
			o := result.Steps[i].Outcome
			return o == pai.OutcomeSucceeded || o == pai.OutcomeSkipped
		}
	}
	return false
}
