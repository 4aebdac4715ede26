package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// Status is where the upgrades of a cluster stand. What the journal and the
// machines say is there also while the API is away.
type Status struct {
	// State is "none", "under-way", "waiting", "unfinished", "abandoned" or "done".
	State string `json:"state"`
	// Operation is the upgrade under way, or the last one.
	Operation *pai.Operation `json:"operation,omitempty"`
	// Abandoned is who gave that up; nil where nobody did.
	Abandoned *Abandoned     `json:"abandoned,omitempty"`
	Lock      *LockState     `json:"lock,omitempty"` // nil when nobody holds it
	Done      []string       `json:"done"`           // steps
	Left      []string       `json:"left"`
	Waiting   []WaitingState `json:"waiting"`
	Cordoned  []CordonState  `json:"cordoned"`
	// APIError is why jobs and cordons are not known; empty when they are.
	APIError string   `json:"apiError,omitempty"`
	Current  pai.Pair `json:"current"`
	// Next is the command that goes on; empty when there is nothing to do.
	Next string `json:"next,omitempty"`
}

// Abandoned is how an upgrade was given up.
type Abandoned struct {
	Operation string    `json:"operation"`
	By        string    `json:"by"` // user@host
	At        time.Time `json:"at"`
}

// LockState is who holds the lock.
type LockState struct {
	run.Holder
	// Health is "alive" or "dead" where that can be told from here.
	Health string `json:"health,omitempty"`
}

// WaitingState is a machine that waits, and for whom now.
type WaitingState struct {
	pai.Waiting
	// Ready is true when it need not wait any longer: its jobs have ended, or
	// what kept it from being changed under them is gone.
	Ready bool `json:"ready"`
}

// CordonState is a machine that takes no new pods.
type CordonState struct {
	Machine   string `json:"machine"`
	By        string `json:"by"`                  // "PAI" or "an operator"
	Operation string `json:"operation,omitempty"` // PAI's
}

// The states of Status.
const (
	StateNone       = "none"
	StateUnderWay   = "under-way"
	StateWaiting    = "waiting"
	StateUnfinished = "unfinished"
	StateAbandoned  = "abandoned"
	StateDone       = "done"
)

const resumeCommand = "paictl upgrade resume"

// UpgradeStatus says where the upgrades of the cluster stand.
func UpgradeStatus(ctx context.Context, on *session.Session) (Status, error) {
	s := newOperation(on)
	st := Status{State: StateNone, Done: []string{}, Left: []string{}, Waiting: []WaitingState{}, Cordoned: []CordonState{}}
	master, err := s.ControlPlane()
	if err != nil {
		return st, err
	}
	if st.Lock, err = s.lockState(ctx, master); err != nil {
		return st, err
	}
	var abandoned *pai.Operation
	if st.Operation, abandoned, err = lastOrAbandoned(ctx, run.NewJournal(master)); err != nil {
		return st, err
	}
	world, err := s.observe(ctx)
	if err != nil {
		return st, err
	}
	st.Current, st.APIError = world.Current, world.APIError
	st.Cordoned = cordons(world)
	if op := st.Operation; op != nil {
		st.steps(*op)
		st.State = stateOf(*op, st.Lock)
	}
	if abandoned != nil { // nothing waits any more
		st.State, st.Abandoned = StateAbandoned, &Abandoned{Operation: abandoned.ID, By: abandoned.By, At: abandoned.Ended}
	} else if op := st.Operation; op != nil {
		st.waits(*op, s.waitNow(ctx, *op, world.APIReachable))
	}
	st.Next = st.next()
	return st, nil
}

func (s *operation) lockState(ctx context.Context, master run.Store) (*LockState, error) {
	_, holder, err := run.Current(ctx, master)
	if err != nil || holder == nil {
		return nil, err
	}
	self, err := run.ThisProcess(s.Version, pai.VerbShowStatus)
	if err != nil {
		return nil, err
	}
	return &LockState{Holder: *holder, Health: self.Sees(*holder)}, nil
}

// stateOf tells an upgrade that goes on from one that was killed: whoever
// carries one out holds the lock.
func stateOf(op pai.Operation, lock *LockState) string {
	switch {
	case op.Outcome == pai.OutcomeRunning && lock != nil && lock.Health != "dead":
		return StateUnderWay
	case op.Outcome == pai.OutcomeWaiting:
		return StateWaiting
	case op.Unfinished():
		return StateUnfinished
	default:
		return StateDone
	}
}

func (st *Status) steps(op pai.Operation) {
	for _, s := range op.Steps {
		if s.Outcome == pai.OutcomeSucceeded || s.Outcome == pai.OutcomeSkipped {
			st.Done = append(st.Done, s.ID)
		} else {
			st.Left = append(st.Left, s.ID)
		}
	}
}

// waitNow asks about the machines that the journal says wait, as the guard
// would. What it cannot tell leaves the journal's word.
func (s *operation) waitNow(ctx context.Context, op pai.Operation, reachable bool) func(pai.Waiting) (guard.Decision, bool) {
	g, err := s.newGuard(nil)
	return func(w pai.Waiting) (guard.Decision, bool) {
		step, ok := kubeletStep(op, w)
		if err != nil || !ok || !reachable {
			return guard.Decision{}, false
		}
		d := g.Decide(ctx, step)
		return d, d.Verdict != guard.Refuse
	}
}

// kubeletStep is the step that a machine waits with, as far as the guard's
// answer needs it.
func kubeletStep(op pai.Operation, w pai.Waiting) (plan.Step, bool) {
	parts := strings.Split(w.Step, "/") // kubernetes/<version>/machine/<name>/<what>
	if len(parts) != 5 || parts[0] != "kubernetes" {
		return plan.Step{}, false
	}
	step := plan.Step{ID: plan.StepID(w.Step), Target: w.Machine, From: pai.AnyVersion(op.From.Kubernetes), To: pai.AnyVersion(parts[1]), Risk: pai.RiskNode}
	if parts[4] == string(plan.RoleKubelet) {
		step.Kind = plan.KindKubelet
	} else {
		step.Kind, step.Role = plan.KindRole, plan.Role(parts[4])
	}
	return step, true
}

func (st *Status) waits(op pai.Operation, now func(pai.Waiting) (guard.Decision, bool)) {
	for _, w := range op.Waiting {
		state := WaitingState{Waiting: w}
		if d, known := now(w); known {
			state.Ready = d.Verdict == guard.Go
			state.Jobs, state.Reason = d.Jobs, d.Reason
		}
		st.Waiting = append(st.Waiting, state)
	}
}

func cordons(w plan.World) []CordonState {
	list := []CordonState{}
	for _, m := range w.Machines {
		switch {
		case m.Node == nil || !m.Node.Unschedulable:
		case m.Node.CordonedByPAI:
			list = append(list, CordonState{Machine: m.Name, By: "PAI", Operation: m.Node.CordonedBy})
		default:
			list = append(list, CordonState{Machine: m.Name, By: "an operator"})
		}
	}
	return list
}

func (st Status) next() string {
	switch st.State {
	case StateUnderWay:
		return ""
	case StateWaiting:
		for _, w := range st.Waiting {
			if w.Ready {
				return resumeCommand
			}
		}
		return resumeCommand + " --wait"
	case StateUnfinished:
		if _, err := Resumable(*st.Operation); err != nil {
			return fmt.Sprintf("paictl upgrade apply --to %s", st.Operation.To.Services)
		}
		return resumeCommand
	default:
		for _, c := range st.Cordoned {
			if c.Operation != "" { // of an upgrade that was given up in another way
				return "paictl upgrade abandon"
			}
		}
		return ""
	}
}
