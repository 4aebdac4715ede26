package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Executor runs plans. It calls its functions from several goroutines at once,
// except Events, whose calls do not overlap.
type Executor struct {
	Doers plan.Doers
	// Admit returns the running jobs that a step can affect now, or an error to
	// refuse it; nil admits all. A step whose error has pai.CodeWaiting waits,
	// together with the steps that it blocks (plan.BlocksWhenWaiting); all other
	// steps continue. It is called again if another step affects the same jobs.
	Admit func(context.Context, plan.Step) ([]pai.JobRef, error)
	// Events is called with each event; it can be nil.
	Events func(Event)
	// Record writes the start and the result of a step to the journal; it can be
	// nil.
	Record func(context.Context, pai.StepRecord) error
	// Halt is called before each step; an error stops the run.
	Halt func() error
	// Stop stops the run at the next safe point when it is closed: started steps
	// finish, no other step starts. To stop at once, cancel the context.
	Stop <-chan struct{}
	// Limit is how many steps run in parallel that are not of class machine; 0
	// means 4.
	Limit int
	// Machines is how many steps of class machine run in parallel; 0 means
	// DefaultParallelMachines.
	Machines int
	// ControlPlanes are the machines with a control plane; none means that each
	// can have one.
	ControlPlanes []string
	// Jobs are the running jobs that each step can affect. Two steps with a common
	// job never run in parallel.
	Jobs map[plan.StepID][]pai.JobRef
	// Deadlines returns the time limits for a step kind; nil means
	// DefaultDeadlines.
	Deadlines func(plan.Kind) Deadlines
}

// Run runs the steps of a plan. A step that fails blocks the steps that wait for
// it. Steps with a risk run in the limits of their class: one at a time for the
// control plane, and for machines the first one alone, then Machines in parallel,
// until one fails.
func (e Executor) Run(ctx context.Context, p plan.Plan) Result {
	if err := p.Validate(); err != nil {
		return Result{Outcome: pai.OutcomeFailed, Stopped: fmt.Errorf("invalid plan: %w", err)}
	}
	if e.Deadlines == nil {
		e.Deadlines = DefaultDeadlines
	}
	r := newRunning(e, p)
	r.run(ctx)
	return r.result()
}

// running is one run of a plan. Only the goroutine of run uses its fields,
// except those below mu.
type running struct {
	Executor
	plan      plan.Plan
	started   time.Time
	records   []pai.StepRecord // by index of the step; each is written once, before it is sent to ended
	ended     chan int         // the index of a step that ended
	waiting   []int            // for how many steps each one still waits
	followers [][]int          // the steps that wait for each one
	ready     []int            // steps that wait for nothing and did not start, in the order of the plan
	settled   []bool           // started, or will never start
	blockedBy map[plan.StepID][]plan.StepID

	limits               *limits
	startedSteps, active int
	claims               claims

	mu       sync.Mutex // serializes events, and guards the fields below
	finished int
	stopped  error // why no other step starts
	journal  error // last error of Record
}

func newRunning(e Executor, p plan.Plan) *running {
	n := len(p.Steps)
	r := &running{Executor: e, plan: p, limits: newLimits(e), started: time.Now(), records: make([]pai.StepRecord, n), ended: make(chan int),
		waiting: make([]int, n), followers: make([][]int, n), settled: make([]bool, n), blockedBy: map[plan.StepID][]plan.StepID{}}
	index := make(map[plan.StepID]int, n)
	for i, s := range p.Steps {
		index[s.ID] = i
		r.waiting[i] = len(s.After)
		for _, id := range s.After {
			r.followers[index[id]] = append(r.followers[index[id]], i)
		}
		if len(s.After) == 0 {
			r.ready = append(r.ready, i)
		}
	}
	return r
}

func (r *running) run(ctx context.Context) {
	for {
		r.checkStop(ctx)
		r.startReady(ctx)
		if r.active == 0 {
			break
		}
		i := r.await(ctx)
		r.limits.end(r.plan.Steps[i], r.records[i].Outcome)
		if r.limits.classOf(r.plan.Steps[i]).machine && r.records[i].Outcome == pai.OutcomeFailed {
			r.blockMachines(i)
		}
		for _, f := range r.followers[i] {
			if r.lets(i, f) {
				r.release(f)
			} else {
				r.block(i, f)
			}
		}
	}
	r.close()
}

// lets reports whether a later step can start after step i ended.
func (r *running) lets(i, f int) bool {
	outcome := r.records[i].Outcome
	return succeeded(outcome) || (outcome == pai.OutcomeWaiting && !plan.BlocksWhenWaiting(r.plan.Steps[i], r.plan.Steps[f]))
}

// release counts down the steps that f waits for.
func (r *running) release(f int) {
	r.waiting[f]--
	if r.waiting[f] == 0 && !r.settled[f] {
		at, _ := slices.BinarySearch(r.ready, f)
		r.ready = slices.Insert(r.ready, at, f)
	}
}

// startReady starts the steps that can start now.
func (r *running) startReady(ctx context.Context) {
	r.limits.draining = false
	r.ready = slices.DeleteFunc(r.ready, func(i int) bool {
		if r.settled[i] || !r.limits.allows(r.plan.Steps[i]) || r.halted() {
			return r.settled[i]
		}
		r.settled[i] = true
		r.start(ctx, i)
		return true
	})
}

// start starts a step.
func (r *running) start(ctx context.Context, i int) {
	s := r.plan.Steps[i]
	r.startedSteps++
	r.active++
	r.limits.start(s)
	r.event(Event{Kind: StepStarted, Step: s, N: r.startedSteps})
	go func() {
		start := time.Now()
		outcome, err := r.step(ctx, s)
		record := pai.StepRecord{ID: string(s.ID), Outcome: outcome, Seconds: time.Since(start).Seconds()}
		if err != nil {
			record.Error, record.Details, record.Next = err.Error(), pai.DetailsOf(err), pai.NextOf(err)
		}
		r.records[i] = record
		_ = r.note(ctx, record) // the result has it
		r.event(Event{Kind: StepEnded, Step: s, Outcome: outcome, Took: time.Since(start), Message: record.Error, Details: record.Details})
		r.ended <- i
	}()
}

// await waits until a step ends.
func (r *running) await(ctx context.Context) int {
	stop, done := r.Stop, ctx.Done()
	for {
		select {
		case i := <-r.ended:
			r.active--
			return i
		case <-stop:
			stop = nil
			r.stop(errStopped)
		case <-done:
			done = nil
			r.stop(context.Cause(ctx))
		}
	}
}

// block marks step i, which waits for a step that did not succeed, and the
// steps that wait for i.
func (r *running) block(by, i int) {
	id, causes := r.plan.Steps[i].ID, []plan.StepID{r.plan.Steps[by].ID}
	if roots := r.blockedBy[causes[0]]; roots != nil {
		causes = roots
	}
	changed := false
	for _, c := range causes {
		if !slices.Contains(r.blockedBy[id], c) {
			r.blockedBy[id] = append(r.blockedBy[id], c)
			changed = true
		}
	}
	first := !r.settled[i]
	if outcome := outcomeAfter(r.records[by].Outcome); first || weight(outcome) > weight(r.records[i].Outcome) {
		r.settled[i] = true
		r.records[i] = pai.StepRecord{ID: string(id), Outcome: outcome}
		changed = true
	}
	if !changed {
		return
	}
	for _, f := range r.followers[i] {
		switch {
		case !r.lets(i, f):
			r.block(i, f)
		case first:
			r.release(f)
		}
	}
}

// blockMachines blocks the steps of class machine that did not start, after step
// by failed: what is wrong there can be wrong on every machine.
func (r *running) blockMachines(by int) {
	for i, s := range r.plan.Steps {
		if !r.settled[i] && r.limits.classOf(s).machine {
			r.block(by, i)
		}
	}
}

// outcomeAfter returns the outcome of a step that waits for one that did not
// succeed.
func outcomeAfter(o pai.Outcome) pai.Outcome {
	if o == pai.OutcomeStopped || o == pai.OutcomeWaiting {
		return o
	}
	return pai.OutcomeBlocked
}

// weight orders the reasons why a step did not start: the record has the one
// that most needs an action.
func weight(o pai.Outcome) int {
	return slices.Index([]pai.Outcome{pai.OutcomeWaiting, pai.OutcomeStopped, pai.OutcomeBlocked}, o)
}

// close fills the records of steps that never started.
func (r *running) close() {
	for i, s := range r.plan.Steps {
		if !r.settled[i] {
			r.records[i] = pai.StepRecord{ID: string(s.ID), Outcome: pai.OutcomeStopped}
		}
		if held := r.blockedBy[s.ID]; len(held) > 0 && r.records[i].Outcome != pai.OutcomeStopped {
			r.records[i].Error = "waits for " + join(r.blockedBy[s.ID])
		}
	}
}

// errStopped means that the operator stopped the run at a safe point.
var errStopped = errors.New("stop requested")

// checkStop checks without waiting whether the run must stop.
func (r *running) checkStop(ctx context.Context) {
	select {
	case <-r.Stop:
		r.stop(errStopped)
	case <-ctx.Done():
		r.stop(context.Cause(ctx))
	default:
	}
}

// halted reports whether no other step must start.
func (r *running) halted() bool {
	if r.stoppedBy() == nil && r.Halt != nil {
		if err := r.Halt(); err != nil {
			r.stop(err)
		}
	}
	return r.stoppedBy() != nil
}

// stop stores the first reason why no other step starts.
func (r *running) stop(why error) {
	r.mu.Lock()
	first := r.stopped == nil
	if first {
		r.stopped = why
	}
	r.mu.Unlock()
	if first {
		r.event(Event{Kind: Stopping, Message: why.Error()})
	}
}

func (r *running) stoppedBy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopped
}

func succeeded(o pai.Outcome) bool { return o == pai.OutcomeSucceeded || o == pai.OutcomeSkipped }
