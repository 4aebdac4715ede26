package cli

import (
	"encoding/json"
	"reflect"
	"sync"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/upgrade"
)

// streamEvent is one line of what an operation prints with -o json. Kind says
// which of the other fields are there:
//
//	plan           plan, with --diff its changes: what is going to be done
//	step-started   step, n (how many have been begun), of
//	step-ended     step, n (how many have ended), of, outcome, seconds, message
//	stopping       message: why nothing more is begun
//	watching       watching: what the witness sees, whenever that changes
//	operation      operation: the record, always last
type streamEvent struct {
	Kind           string            `json:"kind"`
	Time           time.Time         `json:"time"`
	Plan           *planView         `json:"plan,omitempty"`
	Step           *plan.Step        `json:"step,omitempty"`
	N              int               `json:"n,omitempty"`
	Of             int               `json:"of,omitempty"`
	Outcome        pai.Outcome       `json:"outcome,omitempty"`
	Seconds        float64           `json:"seconds,omitempty"`
	ElapsedSeconds float64           `json:"elapsedSeconds,omitempty"`
	Message        string            `json:"message,omitempty"`
	Watching       *upgrade.Watching `json:"watching,omitempty"`
	Operation      *pai.Operation    `json:"operation,omitempty"`
}

// stream shows an operation to programs: an object a line, on standard output.
type stream struct {
	env *Env

	mu   sync.Mutex
	last *upgrade.Watching
	err  error // the first of writing
}

func newStream(env *Env) *stream { return &stream{env: env} }

func (s *stream) put(e streamEvent) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	enc := json.NewEncoder(s.env.Out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); s.err == nil {
		s.err = err
	}
}

func (s *stream) event(e run.Event) {
	out := streamEvent{Kind: string(e.Kind), Time: e.Time, N: e.N, Of: e.Of, Outcome: e.Outcome,
		Seconds: e.Took.Seconds(), ElapsedSeconds: e.Elapsed.Seconds(), Message: e.Message}
	if e.Step.ID != "" {
		out.Step = &e.Step
	}
	s.put(out)
}

func (s *stream) watching(w upgrade.Watching) {
	s.mu.Lock()
	same := s.last != nil && reflect.DeepEqual(*s.last, w)
	s.last = &w
	s.mu.Unlock()
	if !same {
		s.put(streamEvent{Kind: "watching", Watching: &w})
	}
}

func (s *stream) record(op pai.Operation) error {
	s.put(streamEvent{Kind: "operation", Operation: &op})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stream) close() {}
