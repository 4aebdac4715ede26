package operation

import (
	"context"
	"errors"
	"strings"
	"time"

	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// limit is how many independent steps run side by side.
const limit = 8

// lookTimeout bounds how long one step may take to say whether it is done.
const lookTimeout = 30 * time.Second

// RunOptions are what the caller adds to a goal.
type RunOptions struct {
	Accept []string // risks accepted by name
	// SkipChecks names checks that are left out; the journal says which.
	SkipChecks    []string
	DryRun        bool // stop after showing
	Show          func(Preview) error
	Events        func(run.Event)
	Notice        func(format string, args ...any)
	WitnessStatus func(WitnessStatus) // hears what the witness sees; nil hears nothing
	SafeStop      <-chan struct{}     // closed: stop at the next safe point
	// SavedPlan is a saved plan: exactly that is done, or nothing.
	SavedPlan *plan.Saved

	target pai.Target // the goal's, which Operate records
}

// Operate takes a goal the one way that there is. It returns the operation as
// it was recorded; its ID is empty where nothing had to be done or nothing was
// allowed to begin.
func (s *operation) operateOnce(ctx context.Context, goal Goal, o RunOptions) (pai.Operation, error) {
	o.target = goal.target
	preview, world, err := s.preview(ctx, goal)
	if err != nil {
		return pai.Operation{}, err
	}
	if o.SavedPlan != nil {
		if err := s.matchSaved(*o.SavedPlan, preview); err != nil {
			return pai.Operation{}, err
		}
		if jobs := o.SavedPlan.NewJobs(preview.Impact); len(jobs) > 0 {
			o.Notice("jobs that were not there when the plan was saved: %s", strings.Join(jobs, ", "))
		}
	}
	if preview.Revision, err = s.revisionToApply(ctx, goal); err != nil {
		return pai.Operation{}, err
	}
	if err := o.Show(preview); err != nil {
		return pai.Operation{}, err
	}
	if len(preview.Plan.Steps) > 0 {
		if err := s.preflight(ctx, goal, preview.Plan, world, o); err != nil {
			return pai.Operation{}, err
		}
	}
	if o.DryRun {
		return pai.Operation{}, nil
	}
	if len(preview.Plan.Steps) == 0 {
		if left, err := s.needsRecordOnly(ctx, goal, preview.Plan); err != nil {
			return pai.Operation{}, err
		} else if !left {
			return pai.Operation{}, s.nothingToApply(ctx, goal, preview.Plan, o.Notice)
		}
	}
	if err := preview.consequences.requireConsent(o.Accept); err != nil {
		return pai.Operation{}, err
	}
	if err := s.refuseEarly(ctx, preview.Plan, world, o.Accept); err != nil {
		return pai.Operation{}, err
	}
	var op pai.Operation
	err = s.Locked(ctx, goal.Verb, o.Notice, func(ctx context.Context, lock *run.Lock) error {
		if err := s.unchanged(ctx, goal, preview.Plan); err != nil {
			return err
		}
		if goal.begin != nil {
			if err := goal.begin(); err != nil {
				return err
			}
		}
		if err := s.applyRevision(ctx, goal); err != nil {
			return err
		}
		if op, err = s.carryOut(ctx, goal, preview.Plan, world, lock, o); err != nil {
			return err
		}
		return s.markApplied(ctx, goal, preview.Plan)
	})
	if err == nil && goal.applies != nil {
		configsync.Mirror(ctx, s.Session)
	}
	return op, err
}

// refuseEarly asks the guard, before anything is done, about the steps that
// end pods or stop what jobs read through: what is sure to be refused half way
// is refused at the start. Steps in place are judged when their turn comes, by
// what is on the machine then.
func (s *operation) refuseEarly(ctx context.Context, p plan.Plan, world plan.World, accept []string) error {
	g, err := s.newGuard(accept)
	if err != nil {
		return err
	}
	for _, step := range p.Steps {
		if !judgedEarly(step, world) {
			continue
		}
		if err := g.Check(ctx, step); err != nil {
			return err
		}
	}
	return nil
}

// judgedEarly leaves services out while the API is away: nobody could say whose
// data they carry, and the steps before them may bring it back.
func judgedEarly(step plan.Step, world plan.World) bool {
	return step.Risk == pai.RiskEviction || (step.Kind.OfService() && world.APIReachable)
}

// unchanged plans again now that the lock is held. What was shown is what is
// done, so a plan that came out differently is refused.
func (s *operation) unchanged(ctx context.Context, goal Goal, shown plan.Plan) error {
	again, _, err := s.preview(ctx, goal)
	if err != nil {
		return err
	}
	if moved := plan.StepsMoved(shown.Steps, again.Plan.Steps); len(moved) > 0 {
		return plan.MovedError("the cluster changed after the plan was shown", "run the command again to see the new plan", moved)
	}
	return nil
}

// carryOut runs a plan under the witness's eyes and records it.
func (s *operation) carryOut(ctx context.Context, goal Goal, p plan.Plan, world plan.World, lock *run.Lock, o RunOptions) (pai.Operation, error) {
	master, err := s.ControlPlane()
	if err != nil {
		return pai.Operation{}, err
	}
	doers, err := s.doers(p)
	if err != nil {
		return pai.Operation{}, err
	}
	g, err := s.newGuard(o.Accept)
	if err != nil {
		return pai.Operation{}, err
	}
	entry, resumed, err := s.begin(ctx, p, o)
	if err != nil {
		return pai.Operation{}, err
	}
	before, err := s.recordPlannedSteps(ctx, entry, p)
	if err != nil {
		return entry.Operation(), errors.Join(err, entry.End(ctx, pai.OutcomeFailed, err, pai.Report{}))
	}
	admit := newAdmission(g, clusterNodes{s.Session}, entry, before)
	w, err := s.startWatch(ctx, world, entry.Operation().ID, master, resumed)
	if err != nil {
		err = errors.Join(err, entry.End(ctx, pai.OutcomeFailed, err, pai.Report{}))
		return entry.Operation(), err
	}
	lifted, err := liftCordons(ctx, clusterNodes{s.Session}, p, world)
	if err != nil {
		ctx, cancel := cleanupContext(ctx)
		defer cancel()
		report := w.stop(ctx)
		return entry.Operation(), errors.Join(err, entry.End(ctx, pai.OutcomeFailed, err, report))
	}
	accepted := func(i pai.Interruption) bool { return admit.accepted(o.Accept, i) }
	defer w.reportProgress(o.WitnessStatus)()
	defer s.refreshed.into(entry)()
	x := run.Executor{
		Doers: doers, Admit: s.withRecheck(goal, p, admit.check, o.Accept), Limit: limit, Stop: o.SafeStop, Record: entry.Step,
		Halt: func() error {
			return errors.Join(lock.Err(), w.haltUnless(accepted))
		},
		Events: func(e run.Event) {
			w.event(e)
			o.Events(e)
		},
	}
	result := x.Run(ctx, p)
	if entry.Operation().Revision != s.config.Revision { // a step moved the configuration
		after, cancel := cleanupContext(ctx)
		err := entry.Update(after, func(op *pai.Operation) { op.Revision = s.config.Revision })
		cancel()
		result.Journal = errors.Join(result.Journal, err)
	}
	settle := func(ctx context.Context) error {
		return errors.Join(admit.finalizeCordons(ctx, p, result), lifted.restoreCordons(ctx, p, result))
	}
	err = finish(ctx, entry, result, w, settle, accepted)
	return entry.Operation(), err
}
