package operation

import (
	"context"
	"errors"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// execution is the run of a plan's steps, with its journal entry, its witness,
// and the cordons that it changes.
type execution struct {
	*operation
	doers     plan.Doers
	entry     *run.Entry
	watch     *watch
	admission *admission
	lifted    liftedCordons
	window    *alertWindow // nil if alerts have no receiver
	// orphanTimeout limits the wait for containers that a restore of etcd ends.
	orphanTimeout time.Duration
}

// runSteps is the stage that runs the steps, watched by the witness, and
// records them.
func (o *operation) runSteps(ctx context.Context) error {
	x, err := o.startExecution(ctx)
	if err != nil {
		return err
	}
	defer x.watch.reportWitness(o.observer.Witness)()
	defer x.publishProgress(ctx)()
	x.window = x.openWindow(ctx)
	defer x.window.close()
	defer o.recorder.into(x.entry)()
	result := x.execute(ctx)
	err = x.finish(ctx, result)
	o.record = x.entry.Operation()
	return err
}

// startExecution starts or resumes the journal entry, starts the witness, and
// lifts cordons. If it fails, the entry ends as failed.
func (o *operation) startExecution(ctx context.Context) (x *execution, err error) {
	store, err := o.Store()
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(o.preview.Plan.Steps, plan.Step.ChangesElectorate) {
		if err := o.GrowElectorate(ctx); err != nil {
			return nil, err
		}
	}
	doers, err := o.doers(o.preview.Plan)
	if err != nil {
		return nil, err
	}
	g, err := newGuard(o.Session, o.options.Accept)
	if err != nil {
		return nil, err
	}
	entry, resumed, err := o.beginEntry(ctx)
	if err != nil {
		return nil, err
	}
	x = &execution{operation: o, doers: doers, entry: entry, orphanTimeout: orphanTimeout}
	defer func() {
		if err != nil {
			err = x.abort(ctx, err)
		}
	}()
	waited, err := o.recordPlannedSteps(ctx, entry)
	if err != nil {
		return x, err
	}
	x.admission = newAdmission(g, clusterNodes{o.Session}, entry, waited)
	if x.watch, err = startWatch(ctx, o.Session, o.preview.world, entry.Operation().ID, store, resumed, g.Reach); err != nil {
		return x, err
	}
	x.lifted, err = liftCordons(ctx, clusterNodes{o.Session}, o.preview.Plan, o.preview.world)
	return x, err
}

// abort ends the entry of an execution that did not start.
func (x *execution) abort(ctx context.Context, err error) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	var report pai.Report
	if x.watch != nil {
		report = x.watch.stop(ctx)
	}
	err = errors.Join(err, x.entry.End(ctx, pai.OutcomeFailed, err, report))
	x.record = x.entry.Operation()
	return err
}

// execute runs the steps. It stops at a safe point if the lock is lost or a job
// is interrupted.
func (x *execution) execute(ctx context.Context) run.Result {
	executor := run.Executor{
		Doers: x.doers, Admit: x.withRecheck(x.admission.check), Stop: x.options.SafeStop, Record: x.entry.Step,
		Limit: maxParallel, Machines: x.parallelMachines(), Jobs: x.preview.Impact, ControlPlanes: controlPlanes(x.preview.world),
		Halt: func() error { return errors.Join(x.lock.Err(), x.watch.haltUnless(x.isAccepted)) },
		Events: func(e run.Event) {
			x.log.Info(string(e.Kind), "step", e.Step.ID, "outcome", e.Outcome, "message", e.Message, "details", e.Details)
			x.watch.event(e)
			if e.Kind == run.StepStarted {
				x.window.changes(e.Step)
			}
			x.observer.Event(e)
		},
	}
	result := executor.Run(ctx, x.preview.Plan)
	if x.entry.Operation().Revision != x.config.Revision { // a step migrated the configuration
		cleanup, cancel := cleanupContext(ctx)
		defer cancel()
		err := x.entry.Update(cleanup, func(op *pai.Operation) { op.Revision = x.config.Revision })
		result.Journal = errors.Join(result.Journal, err)
	}
	return result
}

// parallelMachines is how many machines are changed in parallel: one if the
// running jobs are unknown, because two machines could have a job in common.
func (x *execution) parallelMachines() int {
	if !x.preview.world.APIReachable {
		return 1
	}
	return x.options.ParallelMachines
}

func controlPlanes(w plan.World) []string {
	var names []string
	for _, m := range w.Machines {
		if m.ControlPlane {
			names = append(names, m.Name)
		}
	}
	return names
}

// isAccepted reports whether the operator accepted an interruption by name, in
// this run of the operation or in an earlier one: the entry has the risks of all.
func (x *execution) isAccepted(i pai.ContainerEnd) bool {
	return x.admission.accepted(x.entry.Operation().AcceptedRisks, i)
}

// finalizeCordons changes the cordons when no further step starts.
func (x *execution) finalizeCordons(ctx context.Context, result run.Result) error {
	return errors.Join(x.admission.finalizeCordons(ctx, x.preview.Plan, result), x.lifted.restoreCordons(ctx, x.preview.Plan, result))
}
