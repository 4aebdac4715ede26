package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// admission asks the guard about each step of one operation, does what the
// guard's answer needs (keeping new jobs off a machine, ending those whose end
// was accepted), and remembers which machines wait for which jobs.
type admission struct {
	decide func(ctx context.Context, step plan.Step) guard.Decision
	nodes  nodes
	entry  *run.Entry
	before []pai.Waiting // of the operation that this one goes on with

	mu       sync.Mutex
	waiting  map[string]pai.Waiting // by machine
	cordoned map[string]bool        // by this run
}

// nodes is what admission does to the cluster's machines.
type nodes interface {
	Cordon(ctx context.Context, machine, operation string) (bool, error)
	Uncordon(ctx context.Context, machine string) error
	EvictJobs(ctx context.Context, machine string) error
}

func newAdmission(g *guard.Guard, n nodes, entry *run.Entry, before []pai.Waiting) *admission {
	return &admission{decide: g.Decide, nodes: n, entry: entry, before: before,
		waiting: map[string]pai.Waiting{}, cordoned: map[string]bool{}}
}

// check fits run.Executor's Admit.
func (a *admission) check(ctx context.Context, step plan.Step) error {
	d := a.decide(ctx, step)
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.Verdict == guard.Go && (d.NeedsCordon || d.NeedsEviction) {
		var err error
		if d, err = a.cordonAndEvict(ctx, step, d); err != nil {
			return err
		}
	}
	if d.Verdict == guard.Go && d.EndsJobs {
		if err := a.recordEviction(ctx, step.Target, d.Jobs); err != nil {
			return err
		}
	}
	if d.Verdict == guard.Wait {
		a.wait(step, d)
	}
	return d.Err(step)
}

// clear keeps new jobs off a machine, ends those that were given up, and asks
// again: a job may have come before the machine was cordoned.
func (a *admission) cordonAndEvict(ctx context.Context, step plan.Step, d guard.Decision) (guard.Decision, error) {
	machine := step.Target
	if err := a.cordon(ctx, machine); err != nil {
		return d, pai.Errorf(pai.CodeRefused, "see that the API answers (paictl cluster status), and run the command again",
			"%s is refused: new jobs could not be kept off %s: %w", step.ID, machine, err)
	}
	if d.NeedsEviction {
		if err := a.recordEviction(ctx, machine, d.Jobs); err != nil {
			return d, err
		}
		if err := a.nodes.EvictJobs(ctx, machine); err != nil {
			return d, fmt.Errorf("end the jobs on %s: %w", machine, err)
		}
	}
	again := a.decide(ctx, step)
	if again.Verdict == guard.Go && again.NeedsEviction { // nobody may come any more, and still somebody is there
		again.Verdict, again.Reason = guard.Wait, "containers of its jobs still end"
	}
	return again, ctx.Err()
}

// giveUp writes down whose end on a machine the operator accepted, before it
// comes: a run that goes on with this one after a kill is not to take it for
// somebody else's doing.
func (a *admission) recordEviction(ctx context.Context, machine string, jobs []pai.JobRef) error {
	return a.entry.Update(ctx, func(op *pai.Operation) {
		op.Evicted = append(op.Evicted, pai.Evicted{Machine: machine, Jobs: jobs, At: time.Now().UTC()})
	})
}

// cordon is written down before it is done, so that what a killed run has
// cordoned is known.
func (a *admission) cordon(ctx context.Context, machine string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cordoned[machine] {
		return nil
	}
	op := a.entry.Operation()
	if !op.CordonedBy(machine) {
		err := a.entry.Update(ctx, func(op *pai.Operation) {
			op.Cordoned = append(op.Cordoned, pai.Cordon{Machine: machine, At: time.Now().UTC()})
		})
		if err != nil {
			return err
		}
	}
	done, err := a.nodes.Cordon(ctx, machine, op.ID)
	if err == nil && done {
		a.cordoned[machine] = true
	}
	return err
}

// wait remembers that a machine waits, since when, and for whom.
func (a *admission) wait(step plan.Step, d guard.Decision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.waiting[step.Target]; known || step.Target == "" {
		return
	}
	w := pai.Waiting{Machine: step.Target, Step: string(step.ID), Jobs: d.Jobs, Reason: d.Reason, Since: time.Now().UTC()}
	for _, b := range a.before {
		if b.Machine == w.Machine {
			w.Since = b.Since
		}
	}
	a.waiting[step.Target] = w
}

// list is the machines that wait, by name.
func (a *admission) list() []pai.Waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []pai.Waiting
	for _, name := range slices.Sorted(maps.Keys(a.waiting)) {
		list = append(list, a.waiting[name])
	}
	return list
}

// settle is done when nothing more is begun. Machines that wait are cordoned,
// only now, because until now the operation itself may have needed a place for
// pods. Those that were cordoned and wait no longer are given back, unless a
// step of theirs failed.
func (a *admission) finalizeCordons(ctx context.Context, p plan.Plan, result run.Result) error {
	var problems []error
	waiting := a.list()
	for _, w := range waiting {
		problems = append(problems, a.cordon(ctx, w.Machine))
	}
	if err := a.entry.Update(ctx, func(op *pai.Operation) { op.Waiting = waiting }); err != nil {
		problems = append(problems, err)
	}
	unfinished := map[string]bool{}
	for i, s := range p.Steps {
		if o := result.Steps[i].Outcome; o != pai.OutcomeSucceeded && o != pai.OutcomeSkipped {
			unfinished[s.Target] = true
		}
	}
	for machine := range a.cordoned {
		if !unfinished[machine] {
			problems = append(problems, a.nodes.Uncordon(ctx, machine))
		}
	}
	return errors.Join(problems...)
}

// accepted reports whether an interruption is one that the operator took by name.
func (a *admission) accepted(risks []string, i pai.Interruption) bool {
	if slices.Contains(risks, guard.AcceptInterrupt) {
		return true
	}
	for _, e := range a.entry.Operation().Evicted {
		if slices.ContainsFunc(e.Jobs, func(j pai.JobRef) bool { return j.String() == i.Job }) {
			return true
		}
	}
	return false
}

// clusterNodes are the nodes of a session's cluster.
type clusterNodes struct{ s *session.Session }

func (n clusterNodes) core(ctx context.Context) (kubernetes.Interface, error) {
	client, err := n.s.Kube(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach the API: %w", err)
	}
	return client.Clientset(), nil
}

func (n clusterNodes) Cordon(ctx context.Context, machine, operation string) (bool, error) {
	core, err := n.core(ctx)
	if err != nil {
		return false, err
	}
	return cluster.Cordon(ctx, core, machine, operation)
}

func (n clusterNodes) Uncordon(ctx context.Context, machine string) error {
	core, err := n.core(ctx)
	if err != nil {
		return err
	}
	return cluster.Uncordon(ctx, core, machine)
}

func (n clusterNodes) EvictJobs(ctx context.Context, machine string) error {
	core, err := n.core(ctx)
	if err != nil {
		return err
	}
	return cluster.EvictJobs(ctx, core, machine)
}
