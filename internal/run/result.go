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
	Stopping    EventKind = "stopping" // no other step starts; Message has the reason
)

// Event is something that happened while a plan ran.
type Event struct {
	Kind    EventKind     `json:"kind"`
	Time    time.Time     `json:"time"`
	Step    plan.Step     `json:"step,omitzero"`
	N       int           `json:"n,omitempty"`  // started: how many have started; ended: how many have ended
	Of      int           `json:"of,omitempty"` // how many steps the plan has
	Outcome pai.Outcome   `json:"outcome,omitempty"`
	Took    time.Duration `json:"took,omitempty"` // the step
	Elapsed time.Duration `json:"elapsed"`        // the whole run
	Message string        `json:"message,omitempty"`
	Details string        `json:"details,omitempty"` // lines that explain the message
}

// event completes an event and calls Events, one event at a time.
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

// Result is the result of a plan.
type Result struct {
	// Outcome is failed, or stopped if no step failed, or waiting if every step
	// was done that does not wait for an idle machine, or succeeded.
	Outcome pai.Outcome
	// Steps is in the order of the plan.
	Steps []pai.StepRecord
	// Blocked lists for each step that was not tried the failed or refused steps
	// that it waits for, directly or through others, and for each step that
	// waits with its machine the step that has to wait there.
	Blocked map[plan.StepID][]plan.StepID
	// Stopped is why the run ended early; nil if it did not.
	Stopped error
	// Journal is the last error of writing the journal; nil if there was none.
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
		case pai.OutcomePending, pai.OutcomeRunning, pai.OutcomeSucceeded, pai.OutcomeSkipped:
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

// Err returns nil if every step was done. The error has what failed, how many
// steps wait for that, and what to do. It names the steps; their own errors do not.
func (r Result) Err() error {
	const again = "run the same command again to continue"
	failed, refused := r.Of(pai.OutcomeFailed), r.Of(pai.OutcomeRefused)
	var parts, details []string
	for _, s := range append(failed, refused...) {
		parts = append(parts, fmt.Sprintf("step %s %s: %s", s.ID, s.Outcome, s.Error))
		if s.Details != "" {
			details = append(details, s.Details)
		}
	}
	waiting := r.waiting()
	for _, s := range waiting {
		parts = append(parts, fmt.Sprintf("step %s must wait: %s", s.ID, s.Error))
	}
	if n := len(r.Of(pai.OutcomeBlocked)); n > 0 {
		parts = append(parts, fmt.Sprintf("%d dependent steps were not started", n))
	}
	if n := len(r.Of(pai.OutcomeStopped)); n > 0 && r.Stopped != nil {
		parts = append(parts, fmt.Sprintf("stopped with %d of %d steps left: %v", n, len(r.Steps), r.Stopped))
	}
	message := strings.Join(parts, "; ")
	switch {
	case len(failed) > 0:
		return &pai.Error{Code: pai.CodeFailed, Message: message, Next: "fix the cause, then " + again, Details: strings.Join(details, "\n")}
	case len(refused) > 0:
		return &pai.Error{Code: pai.CodeRefused, Message: message, Next: refusedNext(refused, again), Details: strings.Join(details, "\n")}
	case r.Outcome == pai.OutcomeSucceeded:
		return nil
	case r.Outcome == pai.OutcomeWaiting:
		return &pai.Error{Code: pai.CodeWaiting, Message: "waiting for running jobs, all other steps are done: " + message,
			Next: "to wait for the jobs and continue, run: paictl upgrade resume --wait\nto see which machines wait, run: paictl upgrade status"}
	case errors.Is(r.Stopped, errStopped), errors.Is(r.Stopped, context.Canceled):
		return &pai.Error{Code: pai.CodeInterrupted, Message: message, Next: again, Err: nil}
	default:
		if message == "" && r.Stopped != nil {
			message = r.Stopped.Error()
		}
		return &pai.Error{Code: pai.CodeOf(r.Stopped), Message: message, Next: again}
	}
}

// refusedNext is the advice of refused steps, each once, and how to continue.
func refusedNext(refused []pai.StepRecord, again string) string {
	var lines []string
	for _, s := range refused {
		if s.Next != "" && !slices.Contains(lines, s.Next) {
			lines = append(lines, s.Next)
		}
	}
	if len(lines) == 0 {
		lines = []string{"remove the cause"}
	}
	return strings.Join(lines, "\n") + "; then " + again
}

// waiting are the steps that wait for an idle machine, without those that they block.
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
