package operation

import (
	"context"
	"errors"
	"slices"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// beginEntry starts the journal entry of the operation, or resumes an
// unfinished one with the same goal: its report then covers both runs.
func (o *operation) beginEntry(ctx context.Context) (entry *run.Entry, resumed bool, err error) {
	journal, err := o.Journal()
	if err != nil {
		return nil, false, err
	}
	left, err := journal.Current(ctx)
	if err != nil {
		return nil, false, err
	}
	journal = journal.Under(o.lock)
	p := o.preview.Plan
	if left != nil && sameGoal(*left, p, targetOf(o.goal)) {
		entry, err := journal.Resume(ctx, left.ID)
		if err == nil && p.Verb == pai.VerbRollback { // during an API outage, the services are left for later
			err = entry.Update(ctx, func(op *pai.Operation) { op.To, op.Target, op.Within = p.To, targetOf(o.goal), withinOf(o.goal) })
		}
		if err == nil && len(o.options.SkipChecks)+len(o.options.Accept) > 0 {
			err = entry.Update(ctx, o.options.addAccepted)
		}
		return entry, true, err
	}
	op := pai.Operation{Verb: p.Verb, By: session.Operator(), From: p.From, To: p.To,
		AcceptedRisks: o.options.Accept, SkippedChecks: o.options.SkipChecks, Target: targetOf(o.goal), Within: withinOf(o.goal)}
	last, err := lastUpgrade(ctx, journal)
	if err != nil {
		return nil, false, err
	}
	if last != nil && p.Verb == pai.VerbUpgrade && last.Outcome == pai.OutcomeWaiting && last.To == p.To {
		op.Continues = last.ID
	}
	entry, err = journal.Begin(ctx, op)
	return entry, false, err
}

// withinOf is the upgrade that a goal is a part of; empty for the goal of a command.
func withinOf(g Goal) string {
	if back, ok := g.(rollback); ok {
		return back.within
	}
	return ""
}

// addAccepted adds the accepted risks and skipped checks of a resumed operation
// to those that its entry has.
func (o RunOptions) addAccepted(op *pai.Operation) {
	op.SkippedChecks, op.AcceptedRisks = union(op.SkippedChecks, o.SkipChecks), union(op.AcceptedRisks, o.Accept)
}

// union lists what is in a or b, sorted, each once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// recordPlannedSteps writes the steps of the plan into the entry before the
// first one starts, so that the journal shows what is left also during an API
// outage. It returns the machines that waited in the operation that this one
// continues.
func (o *operation) recordPlannedSteps(ctx context.Context, entry *run.Entry) ([]pai.Waiting, error) {
	op := entry.Operation()
	waited := op.Waiting
	if op.Continues != "" {
		journal, err := o.Journal()
		if err != nil {
			return nil, err
		}
		last, err := journal.Get(ctx, op.Continues)
		if err != nil {
			return nil, err
		}
		waited = last.Waiting
	}
	return waited, entry.Update(ctx, func(op *pai.Operation) {
		op.Steps, op.Waiting, op.Revision = plannedSteps(op.Steps, o.preview.Plan), nil, o.config.Revision
		if expected := plan.ExpectedGaps(o.preview.Plan); op.ExpectedGaps == nil {
			op.ExpectedGaps = &expected
		}
	})
}

// plannedSteps are the recorded steps and those of a plan. A recorded step that
// is not planned again was found done.
func plannedSteps(recorded []pai.StepRecord, p plan.Plan) []pai.StepRecord {
	planned := map[string]bool{}
	for _, step := range p.Steps {
		planned[string(step.ID)] = true
	}
	steps := []pai.StepRecord{}
	for _, r := range recorded {
		if planned[r.ID] {
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

// needsRecordOnly reports whether everything of a goal is done except its
// record: the operation was killed at its end, or its record is its purpose.
func (o *operation) needsRecordOnly(ctx context.Context) (bool, error) {
	if g, ok := o.goal.(recorded); ok {
		if must, err := g.MustRecord(ctx, o.Session); must || err != nil {
			return must, err
		}
	}
	journal, err := o.Journal()
	if err != nil {
		return false, err
	}
	return isUnfinished(ctx, journal, o.preview.Plan, targetOf(o.goal))
}

// isUnfinished reports whether the last operation of the journal has the goal
// of a plan and has not ended.
func isUnfinished(ctx context.Context, journal *run.Journal, p plan.Plan, target pai.UpgradeTarget) (bool, error) {
	left, err := journal.Current(ctx)
	return left != nil && sameGoal(*left, p, target), err
}

// sameGoal reports whether a plan continues an operation. Where the versions of the
// cluster do not change, the target is compared.
func sameGoal(left pai.Operation, p plan.Plan, target pai.UpgradeTarget) bool {
	return left.Verb == p.Verb && sameVersions(p.Verb, left.To, p.To) && left.Target.Machine == target.Machine && (p.Verb != pai.VerbStage || left.Target == target)
}

// sameVersions reports whether two operations of a verb lead to the same versions. These
// verbs end with the services that were observed, which are unknown during an API outage.
func sameVersions(verb pai.Verb, a, b pai.Pair) bool {
	observed := verb == pai.VerbRollback || verb == pai.VerbBoot || verb == pai.VerbClean
	unknown := observed && (a.Services == "" || b.Services == "")
	return a.Kubernetes == b.Kubernetes && (unknown || a.Services == b.Services)
}

// finish ends the entry with the report of the witness, also if the operator
// interrupted the operation. If the lock is lost, it changes nothing: like one
// that was killed, the operation stays unfinished, and its next run resumes it.
func (x *execution) finish(ctx context.Context, result run.Result) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	if lost := x.lock.Err(); lost != nil {
		x.watch.stop(ctx)
		return session.JoinDistinct(lost, result.Err())
	}
	restored := x.settleRestore(ctx, result)
	cordons := x.finalizeCordons(ctx, result)
	report := x.watch.stop(ctx)
	outcome, err := result.Outcome, result.Err()
	if e := (*pai.Error)(nil); errors.As(err, &e) {
		if e.Code == pai.CodeWaiting && x.goal.Verb() != pai.VerbUpgrade {
			e.Next = "when these jobs end, run the same command again"
		}
		if g, ok := x.goal.(cordoning); ok {
			e.Next += g.cordonLeft(x.preview.Plan, result)
		}
	}
	err = session.JoinDistinct(err, restored, x.entry.Steps(ctx, result.Steps)) // steps that never started have no record yet
	if cordons != nil {
		err = session.JoinDistinct(pai.Errorf(pai.CodeFailed, "see the state of the upgrade and resume it; run: paictl upgrade status",
			"cannot change the cordons of machines: %w", cordons), err)
		outcome = pai.OutcomeFailed
	}
	unaccepted := slices.DeleteFunc(report.Jobs.Interruptions(), x.isAccepted)
	if n := len(unaccepted); n > 0 {
		first := unaccepted[0]
		err = errors.Join(pai.Errorf(pai.CodeFailed, "see the report; run: paictl upgrade history -o json\nto accept the end of this job, use --accept-risk="+guard.AcceptInterruptJob(first.Job),
			"%d containers of running jobs were interrupted; the first is %s of job %s, during %s (%s)", n, first.Container, first.Job, first.Step, first.Cause), err)
		if outcome == pai.OutcomeSucceeded || outcome == pai.OutcomeWaiting {
			outcome = pai.OutcomeFailed
		}
	}
	return session.JoinDistinct(err, result.Journal, x.entry.End(ctx, outcome, err, report))
}
