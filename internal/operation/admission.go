package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// admission asks the guard about each step of one operation and does what the
// decision needs: it cordons the machine, and evicts jobs with an accepted
// risk. It records which machines wait for which jobs. It is called for several
// machines in parallel, and for one machine by one step at a time.
type admission struct {
	decide func(ctx context.Context, step plan.Step) guard.Decision
	nodes  nodes
	entry  *run.Entry
	waited []pai.Waiting // of the operation that this one continues

	mu       sync.Mutex
	waiting  map[string]pai.Waiting // by machine
	cordoned map[string]bool        // by this run
}

func newAdmission(g *guard.Guard, n nodes, entry *run.Entry, waited []pai.Waiting) *admission {
	return &admission{decide: g.Decide, nodes: n, entry: entry, waited: waited,
		waiting: map[string]pai.Waiting{}, cordoned: map[string]bool{}}
}

// check is the Admit function of run.Executor, whose result names the step.
func (a *admission) check(ctx context.Context, step plan.Step) ([]pai.JobRef, error) {
	d := a.decide(ctx, step)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.Verdict == guard.Go && (d.NeedsCordon || d.NeedsEviction) {
		var err error
		if d, err = a.cordonAndEvict(ctx, step, d); err != nil {
			return nil, err
		}
	}
	if d.Verdict == guard.Go && d.EndsJobs {
		if err := a.recordEviction(ctx, step.Target, d.Jobs); err != nil {
			return nil, err
		}
	}
	if d.Verdict == guard.Wait {
		a.wait(step, d)
	}
	return d.Jobs, d.Denial()
}

// cordonAndEvict cordons a machine, evicts its jobs if that was accepted, and
// asks the guard again: a job might have started before the machine was cordoned.
func (a *admission) cordonAndEvict(ctx context.Context, step plan.Step, d guard.Decision) (guard.Decision, error) {
	machine := step.Target
	if err := a.cordon(ctx, machine); err != nil {
		return d, pai.Errorf(pai.CodeRefused, "restore the API server and run the command again; for its state, run: paictl cluster status",
			"cannot cordon machine %s: %w", machine, err)
	}
	if d.NeedsEviction {
		if err := a.recordEviction(ctx, machine, d.Jobs); err != nil {
			return d, err
		}
		if err := a.nodes.EvictJobs(ctx, machine); err != nil {
			return d, fmt.Errorf("evict jobs on machine %s: %w", machine, err)
		}
	}
	again := a.decide(ctx, step)
	if again.Verdict == guard.Go && again.NeedsEviction { // no new job can start, and some still run
		again.Verdict, again.Reason = guard.Wait, "containers of its jobs are still terminating"
	}
	return again, ctx.Err()
}

// recordEviction records the jobs whose end the operator accepted before they
// end, so that a resumed operation does not report them as interrupted.
func (a *admission) recordEviction(ctx context.Context, machine string, jobs []pai.JobRef) error {
	return a.entry.Update(ctx, func(op *pai.Operation) {
		op.Evicted = append(op.Evicted, pai.Evicted{Machine: machine, Jobs: jobs, At: time.Now().UTC()})
	})
}

// cordon records the cordon before it changes the node, so that the cordons of
// a killed operation are known.
func (a *admission) cordon(ctx context.Context, machine string) error {
	if a.hasCordoned(machine) {
		return nil
	}
	id := ""
	err := a.entry.Update(ctx, func(op *pai.Operation) {
		id = op.ID
		if !op.CordonedBy(machine) {
			op.Cordoned = append(op.Cordoned, pai.Cordon{Machine: machine, At: time.Now().UTC()})
		}
	})
	if err != nil {
		return err
	}
	done, err := a.nodes.Cordon(ctx, machine, id)
	if err == nil && done {
		a.mu.Lock()
		a.cordoned[machine] = true
		a.mu.Unlock()
	}
	return err
}

func (a *admission) hasCordoned(machine string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cordoned[machine]
}

// wait records that a machine waits, since when, and for which jobs.
func (a *admission) wait(step plan.Step, d guard.Decision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.waiting[step.Target]; known || step.Target == "" {
		return
	}
	w := pai.Waiting{Machine: step.Target, Step: string(step.ID), Kind: string(step.Kind), Role: string(step.Role), To: step.To,
		Jobs: d.Jobs, Reason: d.Reason, Since: time.Now().UTC()}
	for _, b := range a.waited {
		if b.Machine == w.Machine {
			w.Since = b.Since
		}
	}
	a.waiting[step.Target] = w
}

// list is the waiting machines, by name.
func (a *admission) list() []pai.Waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []pai.Waiting
	for _, name := range slices.Sorted(maps.Keys(a.waiting)) {
		list = append(list, a.waiting[name])
	}
	return list
}

// finalizeCordons runs when no further step starts. It cordons the waiting
// machines; before, the operation itself could need them for pods. It uncordons
// machines that no longer wait, unless one of their steps failed.
func (a *admission) finalizeCordons(ctx context.Context, p plan.Plan, result run.Result) error {
	var problems []error
	waiting := a.list()
	for _, w := range waiting {
		problems = append(problems, a.cordon(ctx, w.Machine))
	}
	problems = append(problems, a.entry.Update(ctx, func(op *pai.Operation) { op.Waiting = waiting }))
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

// accepted reports whether the operator accepted an interruption: that of every
// job, of this job by name, or of all jobs of its machine.
func (a *admission) accepted(risks []string, i pai.ContainerEnd) bool {
	if guard.AcceptsInterruption(risks, i.Job) {
		return true
	}
	for _, e := range a.entry.Operation().Evicted {
		if slices.ContainsFunc(e.Jobs, func(j pai.JobRef) bool { return j.String() == i.Job }) {
			return true
		}
	}
	return false
}
