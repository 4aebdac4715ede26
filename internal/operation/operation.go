package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// RunOptions are what the operator adds to a goal.
type RunOptions struct {
	Accept     []string // accepted risks, by name
	SkipChecks []string // skipped checks, by ID; the journal records them
	DryRun     bool     // end after the plan is shown
	Rehearsal  bool     // end before the lock: show the plan, and refuse what would be refused
	// ParallelMachines is how many machines are changed in parallel; 0 means
	// run.DefaultParallelMachines.
	ParallelMachines int
	// SavedPlan is the only plan that is run; nil runs any.
	SavedPlan *plan.Saved
	// SafeStop stops the operation at the next safe point when it is closed.
	SafeStop <-chan struct{}
	Wait     WaitOptions
	// Observer is called with the plan and the progress; nil for none.
	Observer Observer
}

// Observer follows an operation. Its methods are each called one at a time.
type Observer interface {
	// ShowPlan shows the plan. An error ends the operation before anything is done.
	ShowPlan(ctx context.Context, p Preview) error
	Event(e run.Event)
	Witness(w WitnessStatus)
}

// Silent is an observer that shows nothing.
type Silent struct{}

func (Silent) ShowPlan(context.Context, Preview) error { return nil }
func (Silent) Event(run.Event)                         {}
func (Silent) Witness(WitnessStatus)                   {}

// operation is one run of a goal. Its stages fill its fields in the order in
// which run lists them.
type operation struct {
	*session.Session
	goal     Goal
	options  RunOptions
	observer Observer

	log      *slog.Logger
	preview  Preview
	config   *configsync.Step // has the revision that the operation applies
	lock     *run.Lock
	recorder recorder
	// record is the journal entry; its ID is empty if nothing had to be done or
	// the goal was refused before the first step.
	record pai.Operation
}

func newOperation(s *session.Session, goal Goal, o RunOptions) *operation {
	op := &operation{Session: s, goal: goal, options: o, observer: o.Observer,
		log: slog.New(slog.DiscardHandler), config: &configsync.Step{Session: s}}
	if op.observer == nil {
		op.observer = Silent{}
	}
	return op
}

// stage is one part of the flow.
type stage struct {
	name string
	do   func(ctx context.Context) error
}

// run takes the goal through the flow. Planning again is how an operation
// resumes, and a dry run is the same flow that ends earlier.
func (o *operation) run(ctx context.Context) error {
	err := o.through(ctx,
		stage{"observe", o.observe},
		stage{"make plan", o.makePlan},
		stage{"compare with saved plan", o.matchSaved},
		stage{"choose revision", o.chooseRevision},
		stage{"show plan", o.showPlan},
		stage{"run preflight checks", o.preflight},
		stage{"end dry run", o.endDryRun},
		stage{"end without steps", o.endWithoutSteps},
		stage{"require consent", o.requireConsent},
		stage{"ask guard", o.askGuard},
		stage{"end rehearsal", o.endRehearsal},
		o.locked(
			stage{"plan again", o.planAgain},
			stage{"change configuration", o.reconfigure},
			stage{"apply revision", o.applyRevision},
			stage{"renew certificates", o.renewDue},
			stage{"run steps", o.runSteps},
			stage{"mark applied", o.markApplied},
		),
		stage{"mirror revisions", o.mirrorRevisions},
	)
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// errEnd ends the flow early, with success.
var errEnd = errors.New("nothing is left to do")

// through runs stages until one fails.
func (o *operation) through(ctx context.Context, stages ...stage) error {
	for _, s := range stages {
		o.log.Info("stage", "name", s.name)
		if err := s.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// locked is the stage that holds the lock of the cluster while others run.
func (o *operation) locked(stages ...stage) stage {
	return stage{"lock", func(ctx context.Context) error {
		needs, all := needsOf(o.Releases, o.preview.world, o.preview.Plan)
		return o.Locked(ctx, o.goal.Verb(), run.LockOptions{Notify: o.Progressf, Needs: needs, AllKnown: all}, func(ctx context.Context, lock *run.Lock) error {
			o.lock = lock
			err := o.through(ctx, stages...)
			if err == nil {
				o.lowerNeeds(ctx)
			}
			o.prune(ctx)
			o.publishReports(ctx)
			return err
		})
	}}
}

// showPlan shows the plan to the observer.
func (o *operation) showPlan(ctx context.Context) error { return o.observer.ShowPlan(ctx, o.preview) }

// endDryRun ends a dry run.
func (o *operation) endDryRun(context.Context) error {
	if o.options.DryRun {
		return errEnd
	}
	return nil
}

// endRehearsal ends a rehearsal.
func (o *operation) endRehearsal(context.Context) error {
	if o.options.Rehearsal {
		return errEnd
	}
	return nil
}

// cleanupTimeout bounds what has to be done at the end of an operation.
const cleanupTimeout = 2 * time.Minute

// cleanupContext is a context for what must be done also if the operation was
// interrupted: not canceled, and bounded.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.WithoutCancel(ctx), cleanupTimeout, fmt.Errorf("the operation did not end within %s", cleanupTimeout))
}
