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

// Executor carries out plans. Its functions are called from several goroutines
// at once, except Events, whose calls come one after the other.
type Executor struct {
	Doers plan.Doers
	// Admit refuses a step by returning why; nil refuses none. A step whose why
	// has pai.CodeWaiting is set aside: what it holds up (plan.BlocksWhenWaiting) is as well,
	// and everything else goes on.
	Admit func(context.Context, plan.Step) error
	// Events hears what happens; nil hears nothing.
	Events func(Event)
	// Record writes what became of a step, and that it was begun, to the
	// journal; nil writes nothing.
	Record func(context.Context, pai.StepRecord) error
	// Halt is asked before each step; an error stops the run there.
	Halt func() error
	// Stop, once closed, stops the run at the next safe point: what has begun
	// is finished, nothing more is begun. To stop at once, end the context.
	Stop <-chan struct{}
	// Limit is how many steps run side by side; 4 when it is 0.
	Limit int
	// Deadlines says how long a step of a kind may take; DefaultDeadlines when
	// it is nil.
	Deadlines func(plan.Kind) Deadlines
}

const defaultLimit = 4

// Run does a plan's steps. A step that fails blocks only what waits for it.
// Of steps that touch what jobs run on, one runs at a time: what goes wrong
// with the first is seen before the second begins.
func (e Executor) Run(ctx context.Context, p plan.Plan) Result {
	if err := p.Validate(); err != nil {
		return Result{Outcome: pai.OutcomeFailed, Stopped: fmt.Errorf("the plan cannot be run: %w", err)}
	}
	if e.Limit <= 0 {
		e.Limit = defaultLimit
	}
	if e.Deadlines == nil {
		e.Deadlines = DefaultDeadlines
	}
	r := newRunning(e, p)
	r.run(ctx)
	return r.result()
}

// running is one run of a plan. Only the goroutine of run touches its fields,
// except those under mu.
type running struct {
	Executor
	plan      plan.Plan
	started   time.Time
	records   []pai.StepRecord // by index of the step; each written once, before ended says so
	ended     chan int         // the index of a step that has ended
	waiting   []int            // how many steps each one still waits for
	followers [][]int          // who waits for each
	ready     []int            // what waits for nothing and has not begun, in the plan's order
	settled   []bool           // what has begun, or never will
	blockedBy map[plan.StepID][]plan.StepID

	begun, active, risky int

	mu       sync.Mutex // serialises events, and guards what follows
	finished int
	stopped  error // why nothing more is begun
	journal  error // the last error of Record
}

func newRunning(e Executor, p plan.Plan) *running {
	n := len(p.Steps)
	r := &running{Executor: e, plan: p, started: time.Now(), records: make([]pai.StepRecord, n), ended: make(chan int),
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
		r.lookForStop(ctx)
		r.beginReady(ctx)
		if r.active == 0 {
			break
		}
		i := r.await(ctx)
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

// lets reports whether a step that has ended lets one that comes after it begin.
func (r *running) lets(i, f int) bool {
	outcome := r.records[i].Outcome
	return succeeded(outcome) || (outcome == pai.OutcomeWaiting && !plan.BlocksWhenWaiting(r.plan.Steps[i], r.plan.Steps[f]))
}

// release counts one step less that f waits for.
func (r *running) release(f int) {
	r.waiting[f]--
	if r.waiting[f] == 0 && !r.settled[f] {
		at, _ := slices.BinarySearch(r.ready, f)
		r.ready = slices.Insert(r.ready, at, f)
	}
}

// beginReady begins what may begin now.
func (r *running) beginReady(ctx context.Context) {
	r.ready = slices.DeleteFunc(r.ready, func(i int) bool {
		if r.active >= r.Limit || (touchesJobs(r.plan.Steps[i]) && r.risky > 0) || r.halted() {
			return false
		}
		r.settled[i] = true
		r.begin(ctx, i)
		return true
	})
}

// begin starts a step.
func (r *running) begin(ctx context.Context, i int) {
	s := r.plan.Steps[i]
	r.begun++
	r.active++
	if touchesJobs(s) {
		r.risky++
	}
	r.event(Event{Kind: StepStarted, Step: s, N: r.begun})
	go func() {
		began := time.Now()
		outcome, err := r.step(ctx, s)
		record := pai.StepRecord{ID: string(s.ID), Outcome: outcome, Seconds: time.Since(began).Seconds()}
		if err != nil {
			record.Error = err.Error()
		}
		r.records[i] = record
		_ = r.note(ctx, record) // the result has it
		r.event(Event{Kind: StepEnded, Step: s, Outcome: outcome, Took: time.Since(began), Message: record.Error})
		r.ended <- i
	}()
}

// await waits until a step has ended.
func (r *running) await(ctx context.Context) int {
	stop, done := r.Stop, ctx.Done()
	for {
		select {
		case i := <-r.ended:
			r.active--
			if touchesJobs(r.plan.Steps[i]) {
				r.risky--
			}
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

// block marks a step that waits for one that did not succeed, and what waits
// for it in turn.
func (r *running) block(by, i int) {
	id, causes := r.plan.Steps[i].ID, []plan.StepID{r.plan.Steps[by].ID}
	if roots := r.blockedBy[causes[0]]; roots != nil {
		causes = roots
	}
	news := false
	for _, c := range causes {
		if !slices.Contains(r.blockedBy[id], c) {
			r.blockedBy[id] = append(r.blockedBy[id], c)
			news = true
		}
	}
	first := !r.settled[i]
	if outcome := heldBy(r.records[by].Outcome); first || weight(outcome) > weight(r.records[i].Outcome) {
		r.settled[i] = true
		r.records[i] = pai.StepRecord{ID: string(id), Outcome: outcome}
		news = true
	}
	if !news {
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

// heldBy is what becomes of a step that comes after one which did not succeed.
func heldBy(o pai.Outcome) pai.Outcome {
	if o == pai.OutcomeStopped || o == pai.OutcomeWaiting {
		return o
	}
	return pai.OutcomeBlocked
}

// weight orders why a step was not begun: of several reasons, the one that
// needs somebody most is told.
func weight(o pai.Outcome) int {
	return slices.Index([]pai.Outcome{pai.OutcomeWaiting, pai.OutcomeStopped, pai.OutcomeBlocked}, o)
}

// close fills the records of what was never begun.
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

// errStopped is why a run ended that was asked to stop at the next safe point.
var errStopped = errors.New("asked to stop")

// lookForStop learns without waiting that the run should end.
func (r *running) lookForStop(ctx context.Context) {
	select {
	case <-r.Stop:
		r.stop(errStopped)
	case <-ctx.Done():
		r.stop(context.Cause(ctx))
	default:
	}
}

// halted asks whether anything more may be begun.
func (r *running) halted() bool {
	if r.stoppedBy() == nil && r.Halt != nil {
		if err := r.Halt(); err != nil {
			r.stop(err)
		}
	}
	return r.stoppedBy() != nil
}

// stop remembers the first reason for which nothing more is begun.
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

// touchesJobs reports whether running jobs could be hurt by a step.
func touchesJobs(s plan.Step) bool { return s.Risk != pai.RiskNone && s.Risk != pai.RiskAPI }

func succeeded(o pai.Outcome) bool { return o == pai.OutcomeSucceeded || o == pai.OutcomeSkipped }
