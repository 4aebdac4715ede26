package ui

import (
	"encoding/json"
	"reflect"
	"sync"
	"time"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// streamEvent is one line of the output of an operation with -o json. Kind
// determines the other fields:
//
//	plan           plan, with --diff its changes: what will be done
//	step-started   step, n (how many have started), of
//	step-ended     step, n (how many have ended), of, outcome, seconds, message,
//	               details: lines that explain the message
//	stopping       message: why no further step starts
//	watching       watching: what the witness observes, whenever that changes
//	operation      operation: the record, always last
type streamEvent struct {
	Kind           string                   `json:"kind"`
	Time           time.Time                `json:"time"`
	Plan           any                      `json:"plan,omitempty"`
	Step           *plan.Step               `json:"step,omitempty"`
	N              int                      `json:"n,omitempty"`
	Of             int                      `json:"of,omitempty"`
	Outcome        pai.Outcome              `json:"outcome,omitempty"`
	Seconds        float64                  `json:"seconds,omitempty"`
	ElapsedSeconds float64                  `json:"elapsedSeconds,omitempty"`
	Message        string                   `json:"message,omitempty"`
	Details        string                   `json:"details,omitempty"`
	Watching       *operation.WitnessStatus `json:"watching,omitempty"`
	Operation      *pai.Operation           `json:"operation,omitempty"`
}

// stream shows an operation to programs: one object per line on standard output.
type stream struct {
	console *Console

	mu   sync.Mutex
	last *operation.WitnessStatus
	err  error // of the first write that failed
}

func (s *stream) put(e streamEvent) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	enc := json.NewEncoder(s.console.Out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); s.err == nil {
		s.err = err
	}
}

func (s *stream) Plan(data any, _ func(*Page)) error {
	s.put(streamEvent{Kind: "plan", Plan: data})
	return nil
}

func (s *stream) Event(e run.Event) {
	out := streamEvent{Kind: string(e.Kind), Time: e.Time, N: e.N, Of: e.Of, Outcome: e.Outcome,
		Seconds: e.Took.Seconds(), ElapsedSeconds: e.Elapsed.Seconds(), Message: e.Message, Details: e.Details}
	if e.Step.ID != "" {
		out.Step = &e.Step
	}
	s.put(out)
}

func (s *stream) Witness(w operation.WitnessStatus) {
	s.mu.Lock()
	same := s.last != nil && reflect.DeepEqual(*s.last, w)
	s.last = &w
	s.mu.Unlock()
	if !same {
		s.put(streamEvent{Kind: "watching", Watching: &w})
	}
}

func (s *stream) Record(op pai.Operation) error {
	s.put(streamEvent{Kind: "operation", Operation: &op})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stream) Close() {}
