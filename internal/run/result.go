package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// EventKind says what an Event is about.
type EventKind string

// The event kinds.
const (
	StepStarted EventKind = "step-started"
	StepEnded   EventKind = "step-ended"
	Stopping    EventKind = "stopping" // nothing more is begun; Message says why
)

// Event is something that happened while a plan was carried out.
type Event struct {
	Kind    EventKind     `json:"kind"`
	Time    time.Time     `json:"time"`
	Step    plan.Step     `json:"step,omitzero"`
	N       int           `json:"n,omitempty"`  // started: how many have been begun; ended: how many have ended
	Of      int           `json:"of,omitempty"` // how many steps the plan has
	Outcome pai.Outcome   `json:"outcome,omitempty"`
	Took    time.Duration `json:"took,omitempty"` // the step
	Elapsed time.Duration `json:"elapsed"`        // the whole run
	Message string        `json:"message,omitempty"`
}

// event completes an event and hands it on, one at a time.
func (r *running) event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Kind == StepEnded {
		r.finished++
		e.N = r.finished
	}
	if r.Events == nil {
		return
	}
	e.Time, e.Of, e.Elapsed = time.Now(), len(r.plan.Steps), time.Since(r.started)
	r.Events(e)
}

// Result is what became of a plan.
type Result struct {
	// Outcome is succeeded, failed, stopped where no step failed, or waiting
	// where everything was done that waits for no idle machine.
	Outcome pai.Outcome
	// Steps is in the order of the plan.
	Steps []pai.StepRecord
	// Blocked says for each step that was not tried which failed or refused
	// steps it comes after, directly or through others, and for each one that
	// waits with its machine which step has to wait there.
	Blocked map[plan.StepID][]plan.StepID
	// Stopped is why the run ended early; nil where it did not.
	Stopped error
	// Journal is the last error of writing the journal; nil where there was none.
	Journal error
}

func (r *running) result() Result {
	res := Result{Outcome: pai.OutcomeSucceeded, Steps: r.records, Blocked: map[plan.StepID][]plan.StepID{}, Stopped: r.stoppedBy(), Journal: r.journal}
	failed, stopped, waits := false, false, false
	for _, s := range r.records {
		switch s.Outcome {
		case pai.OutcomeFailed, pai.OutcomeRefused:
			failed = true
		case pai.OutcomeStopped:
			stopped = true
		case pai.OutcomeBlocked:
			res.Blocked[plan.StepID(s.ID)] = r.blockedBy[plan.StepID(s.ID)]
		case pai.OutcomeWaiting:
			waits = true
			if by := r.blockedBy[plan.StepID(s.ID)]; len(by) > 0 {
				res.Blocked[plan.StepID(s.ID)] = by
			}
		}
	}
	switch {
	case failed:
		res.Outcome = pai.OutcomeFailed
	case stopped:
		res.Outcome = pai.OutcomeStopped
	case waits:
		res.Outcome = pai.OutcomeWaiting
	}
	return res
}

// Of lists the steps with an outcome.
func (r Result) Of(o pai.Outcome) []pai.StepRecord {
	var steps []pai.StepRecord
	for _, s := range r.Steps {
		if s.Outcome == o {
			steps = append(steps, s)
		}
	}
	return steps
}

// Err is nil when every step was done, else what the user is told: what
// failed, what waits for it, and what to do.
func (r Result) Err() error {
	const again = "run the same command again: it goes on where it stopped"
	failed, refused := r.Of(pai.OutcomeFailed), r.Of(pai.OutcomeRefused)
	var parts []string
	for _, s := range append(failed, refused...) {
		parts = append(parts, fmt.Sprintf("step %s %s: %s", s.ID, s.Outcome, s.Error))
	}
	waiting := r.waiting()
	for _, s := range waiting {
		parts = append(parts, s.Error)
	}
	if n := len(r.Of(pai.OutcomeBlocked)); n > 0 {
		parts = append(parts, fmt.Sprintf("steps that wait for that: %d", n))
	}
	if n := len(r.Of(pai.OutcomeStopped)); n > 0 && r.Stopped != nil {
		parts = append(parts, fmt.Sprintf("stopped with %d of %d steps left: %v", n, len(r.Steps), r.Stopped))
	}
	message := strings.Join(parts, "; ")
	switch {
	case len(failed) > 0:
		return &pai.Error{Code: pai.CodeFailed, Message: message, Next: "mend what failed, and " + again}
	case len(refused) > 0:
		return &pai.Error{Code: pai.CodeRefused, Message: message, Next: "do what the refusal says, and " + again}
	case r.Outcome == pai.OutcomeSucceeded:
		return nil
	case r.Outcome == pai.OutcomeWaiting:
		return &pai.Error{Code: pai.CodeWaiting, Message: "all is done that may be done now; " + message,
			Next: "go on when these jobs have ended, or stay until they have: paictl upgrade resume [--wait]\nsee who waits for what: paictl upgrade status"}
	case errors.Is(r.Stopped, errStopped), errors.Is(r.Stopped, context.Canceled):
		return &pai.Error{Code: pai.CodeInterrupted, Message: message, Next: again, Err: nil}
	default:
		if message == "" && r.Stopped != nil {
			message = r.Stopped.Error()
		}
		return &pai.Error{Code: pai.CodeOf(r.Stopped), Message: message, Next: again}
	}
}

// waiting are the steps that the guard told to wait, without those behind them.
func (r Result) waiting() []pai.StepRecord {
	return slices.DeleteFunc(r.Of(pai.OutcomeWaiting), func(s pai.StepRecord) bool { return len(r.Blocked[plan.StepID(s.ID)]) > 0 })
}

func join(ids []plan.StepID) string {
	var names []string
	for _, id := range ids {
		names = append(names, string(id))
	}
	return strings.Join(names, ", ")
}
