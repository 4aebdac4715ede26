package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// finishTimeout bounds the last look and the last entry of an operation.
const finishTimeout = 2 * time.Minute

// afterwards is a context for what has to be done also when the user has
// interrupted: not cancelled, and bounded.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithoutCancel(ctx), finishTimeout, fmt.Errorf("the end of an operation has %s", finishTimeout))
}

// begin records that the operation starts, or takes up the one toward the same
// goal that was left unfinished: its report goes on from where it was.
func (s *operation) begin(ctx context.Context, p plan.Plan, o RunOptions) (entry *run.Entry, resumed bool, err error) {
	master, err := s.ControlPlane()
	if err != nil {
		return nil, false, err
	}
	journal := run.NewJournal(master)
	left, err := journal.Current(ctx)
	if err != nil {
		return nil, false, err
	}
	if left != nil && sameGoal(*left, p, o.target) {
		entry, err := journal.Resume(ctx, left.ID)
		if err == nil && len(o.SkipChecks)+len(o.Accept) > 0 {
			err = entry.Update(ctx, o.addAccepted)
		}
		return entry, true, err
	}
	op := pai.Operation{Verb: p.Verb, By: session.Operator(), From: p.From, To: p.To, AcceptedRisks: o.Accept, SkippedChecks: o.SkipChecks, Target: o.target}
	if last, err := s.lastUpgrade(ctx); err != nil {
		return nil, false, err
	} else if last != nil && p.Verb == pai.VerbUpgrade && last.Outcome == pai.OutcomeWaiting && last.To == p.To {
		op.Continues = last.ID
	}
	entry, err = journal.Begin(ctx, op)
	return entry, false, err
}

// took adds what the operator accepts and skips, going on with an operation, to
// what was accepted and skipped before.
func (o RunOptions) addAccepted(op *pai.Operation) {
	op.SkippedChecks, op.AcceptedRisks = union(op.SkippedChecks, o.SkipChecks), union(op.AcceptedRisks, o.Accept)
}

// planned writes the steps of a plan into the journal before the first is
// tried, so that what is left can be read there, also while the API is away.
// What an earlier run of the operation left undone and is not planned any more
// was found done. It returns the machines that waited in the operation that
// this one goes on with.
func (s *operation) recordPlannedSteps(ctx context.Context, entry *run.Entry, p plan.Plan) ([]pai.Waiting, error) {
	op := entry.Operation()
	before := op.Waiting
	if op.Continues != "" {
		master, err := s.ControlPlane()
		if err != nil {
			return nil, err
		}
		last, err := run.NewJournal(master).Get(ctx, op.Continues)
		if err != nil {
			return nil, err
		}
		before = last.Waiting
	}
	return before, entry.Update(ctx, func(op *pai.Operation) {
		op.Steps, op.Waiting, op.Revision = stepsOf(op.Steps, p), nil, s.config.Revision
	})
}

func stepsOf(recorded []pai.StepRecord, p plan.Plan) []pai.StepRecord {
	left := map[string]bool{}
	for _, step := range p.Steps {
		left[string(step.ID)] = true
	}
	steps := []pai.StepRecord{}
	for _, r := range recorded {
		if left[r.ID] {
			continue
		}
		if r.Outcome != pai.OutcomeSucceeded {
			r = pai.StepRecord{ID: r.ID, Outcome: pai.OutcomeSkipped, Seconds: r.Seconds}
		}
		steps = append(steps, r)
	}
	for _, step := range p.Steps {
		steps = append(steps, pai.StepRecord{ID: string(step.ID), Outcome: pai.OutcomePending})
	}
	return steps
}

// needsRecordOnly reports whether everything of a goal is done but its record: it
// was killed at its very end, or the record is all that there is to do.
func (s *operation) needsRecordOnly(ctx context.Context, goal Goal, p plan.Plan) (bool, error) {
	if goal.record != nil {
		if wanted, err := goal.record(ctx); wanted || err != nil {
			return wanted, err
		}
	}
	master, err := s.ControlPlane()
	if err != nil {
		return false, err
	}
	return unfinished(ctx, master, p, goal.target)
}

// unfinished reports whether the journal ends with an operation toward a
// plan's goal that has no end.
func unfinished(ctx context.Context, store run.Store, p plan.Plan, target pai.Target) (bool, error) {
	left, err := run.NewJournal(store).Current(ctx)
	return left != nil && sameGoal(*left, p, target), err
}

// sameGoal reports whether a plan goes on with what an operation was after.
// Staging leaves the cluster at the pair it has, so there the target tells.
func sameGoal(left pai.Operation, p plan.Plan, target pai.Target) bool {
	return left.Verb == p.Verb && left.To == p.To && (p.Verb != pai.VerbStage || left.Target == target)
}

// union lists what is in a or b, sorted, each once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// finish takes the witness's report and writes the end of the operation, also
// when the user interrupted it.
//
// settle is what has to be done to machines when nothing more is begun;
// accepted tells the interruptions that the operator took by name.
func finish(ctx context.Context, entry *run.Entry, result run.Result, w *watch, settle func(context.Context) error, accepted func(pai.Interruption) bool) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	settled := settle(ctx)
	report := w.stop(ctx)
	outcome, err := result.Outcome, result.Err()
	if e := (*pai.Error)(nil); errors.As(err, &e) && e.Code == pai.CodeWaiting && entry.Operation().Verb != pai.VerbUpgrade {
		e.Next = "when these jobs have ended, run the same command again"
	}
	// What was never begun has no record yet.
	err = session.JoinDistinct(err, entry.Steps(ctx, result.Steps))
	if settled != nil {
		err = session.JoinDistinct(pai.Errorf(pai.CodeFailed, "see paictl upgrade status, and go on with: paictl upgrade resume",
			"machines could not be cordoned, or given back: %w", settled), err)
		outcome = pai.OutcomeFailed
	}
	unaccepted := slices.DeleteFunc(slices.Clone(report.Jobs.Interrupted), accepted)
	if n := len(unaccepted); n > 0 {
		first := unaccepted[0]
		err = errors.Join(pai.Errorf(pai.CodeFailed, "see the report with: paictl upgrade history -o json",
			"%d containers of running jobs were interrupted; the first is %s of job %s, during %s (%s)", n, first.Container, first.Job, first.Step, first.Cause), err)
		if outcome == pai.OutcomeSucceeded || outcome == pai.OutcomeWaiting {
			outcome = pai.OutcomeFailed
		}
	}
	return session.JoinDistinct(err, result.Journal, entry.End(ctx, outcome, err, report))
}
