package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// Run runs a goal: observe, plan, show, guard, do, verify, record. It returns
// the recorded operation. The ID is empty if there was nothing to do or if the
// goal was refused before the first step.
//
// With Wait, Run runs the goal again until no machine waits for its jobs. Each
// run is an operation with its own witness, and the lock is free in between:
// the machines are cordoned, so nothing has to be held while jobs run for days.
//
// Every run that is neither a dry run nor a rehearsal has a log file. An error names it, unless nothing was
// done, or the only cause is that machines wait for their jobs.
func Run(ctx context.Context, s *session.Session, goal Goal, o RunOptions) (pai.Operation, error) {
	if o.DryRun || o.Rehearsal {
		return runUntilIdle(ctx, s, goal, o, slog.New(slog.DiscardHandler))
	}
	log, stop, err := s.StartLog(string(goal.Verb()))
	if err != nil {
		return pai.Operation{}, fmt.Errorf("start log: %w", err)
	}
	defer stop()
	op, err := runUntilIdle(ctx, s, goal, o, log.Logger)
	log.Info("end", "operation", op.ID, "outcome", op.Outcome, "error", err)
	switch code := pai.CodeOf(err); {
	case err != nil && (code == pai.CodeFailed || code == pai.CodeInterrupted || op.ID != "" && code != pai.CodeWaiting):
		err = fmt.Errorf("%w\nlog: %s", err, log.Path())
	case op.ID == "":
		return op, errors.Join(err, log.Remove()) // nothing was done
	}
	return op, err
}

func runUntilIdle(ctx context.Context, s *session.Session, goal Goal, o RunOptions, log *slog.Logger) (pai.Operation, error) {
	end := time.Now().Add(o.Wait.Timeout)
	for {
		op := newOperation(s, goal, o)
		op.log = log
		err := op.run(ctx)
		if err != nil {
			err = op.rollBackIfPartial(ctx, err)
		}
		if !o.Wait.On || err == nil || pai.CodeOf(err) != pai.CodeWaiting {
			return op.record, err
		}
		if err := op.awaitMachines(ctx, end); err != nil {
			return op.record, err
		}
		o.SavedPlan = nil // the next run does the rest of it
	}
}

// rollBackIfPartial rolls back an upgrade in which a step of a Kubernetes hop
// failed before its commit, because two versions would run: nothing is lost,
// and the upgrade can be tried again. It returns the error of the upgrade.
func (o *operation) rollBackIfPartial(ctx context.Context, err error) error {
	if o.goal.Verb() != pai.VerbUpgrade || o.record.Outcome == pai.OutcomeWaiting || o.record.ID == "" {
		return err
	}
	observing, cancel := cleanupContext(ctx)
	w, observed := Observe(observing, o.Session)
	cancel()
	if observed == nil && !plan.BetweenVersions(w) {
		return err
	}
	if reason := reasonNotToRollBack(ctx, o.record, o.options.SafeStop, err, observed); reason != "" {
		o.Progressf("no automatic rollback %s; Kubernetes is between two versions. To continue, run the same command again. To roll back, run: paictl upgrade rollback", reason)
		return err
	}
	to := w.Current
	if to.Services == "" {
		to.Services = o.record.From.Services
	}
	o.Progressf("a step failed before the commit of the hop; rolling back to Kubernetes %s", to.Kubernetes)
	options := o.options
	options.SavedPlan = nil // it is a plan of the upgrade
	back := newOperation(o.Session, rollback{to: to, target: plan.Target{KubernetesOnly: true}, within: o.record.ID}, options)
	back.log = o.log
	if failed := back.run(ctx); failed != nil {
		return pai.Errorf(pai.CodeOf(err), "fix the cause, then continue with paictl upgrade apply, or roll back; run: paictl upgrade rollback",
			"%w; the rollback failed as well: %w", err, failed)
	}
	return pai.Errorf(pai.CodeOf(err), "fix the cause, then run the same command again",
		"%w; rolled back to Kubernetes %s, nothing was lost", err, to.Kubernetes)
}

// reasonNotToRollBack is why a failed upgrade does not roll back by itself;
// empty if it does. observed is why the cluster could not be observed.
func reasonNotToRollBack(ctx context.Context, op pai.Operation, safeStop <-chan struct{}, err, observed error) string {
	stopping := false
	select {
	case <-safeStop:
		stopping = true
	default:
	}
	failed := false
	for _, step := range op.Steps {
		failed = failed || step.Outcome == pai.OutcomeFailed
	}
	switch {
	case ctx.Err() != nil, stopping:
		return "because it was stopped"
	case errors.Is(err, run.ErrLost):
		return "because its lock was lost"
	case errors.Is(err, run.ErrNotReleased):
		return "because its lock could not be released"
	case observed != nil:
		return fmt.Sprintf("because the cluster could not be observed: %v", observed)
	case len(op.Jobs.Interruptions()) > 0:
		return "because a running job was interrupted"
	case op.Outcome != pai.OutcomeFailed || !failed:
		return "because it was stopped at a safe point"
	}
	return ""
}
