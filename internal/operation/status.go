package operation

import (
	"context"
	"strings"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// Status is the state of the upgrades and rollbacks of a cluster. During an API outage it has
// what the journal and the machines report.
type Status struct {
	// State is "none", "under-way", "waiting", "unfinished", "abandoned" or "done".
	State string `json:"state"`
	// Operation is the upgrade in progress, or the last one. It is a rollback if one is in
	// progress or unfinished.
	Operation *pai.Operation `json:"operation,omitempty"`
	Abandoned *Abandoned     `json:"abandoned,omitempty"` // nil if the upgrade was not abandoned
	Lock      *LockState     `json:"lock,omitempty"`      // nil if the lock is free
	Done      []string       `json:"done"`                // steps
	Left      []string       `json:"left"`
	Waiting   []WaitingState `json:"waiting"`
	Cordoned  []CordonState  `json:"cordoned"`
	// APIError is why jobs and cordons are unknown; empty if they are known.
	APIError string   `json:"apiError,omitempty"`
	Current  pai.Pair `json:"current"`
	// Next is the command to continue with; empty if there is nothing to do.
	Next string `json:"next,omitempty"`
}

// Abandoned is the operation that abandoned an upgrade.
type Abandoned struct {
	Operation string    `json:"operation"`
	By        string    `json:"by"` // user@host
	At        time.Time `json:"at"`
}

// LockState is the holder of the lock.
type LockState struct {
	run.Holder
	// Health is "alive" or "dead"; empty if this host cannot determine it.
	Health string `json:"health,omitempty"`
}

// WaitingState is a machine that waits, and the jobs that it waits for now.
type WaitingState struct {
	pai.Waiting
	// Ready is true if the machine can be upgraded now: its jobs have ended, or
	// it can be upgraded in place.
	Ready bool `json:"ready"`
}

// CordonState is a machine that is not schedulable.
type CordonState struct {
	Machine   string `json:"machine"`
	By        string `json:"by"`                  // "PAI", "maintenance", or "an operator"
	Operation string `json:"operation,omitempty"` // if by PAI
}

// The states of Status.
const (
	StateNone       = "none"
	StateInProgress = "under-way"
	StateWaiting    = "waiting"
	StateUnfinished = "unfinished"
	StateAbandoned  = "abandoned"
	StateDone       = "done"
)

const resumeCommand = "paictl upgrade resume"

// UpgradeStatus reads the state of the upgrades of a cluster.
func UpgradeStatus(ctx context.Context, s *session.Session) (Status, error) {
	st := Status{State: StateNone, Done: []string{}, Left: []string{}, Waiting: []WaitingState{}, Cordoned: []CordonState{}}
	store, err := s.Store()
	if err != nil {
		return st, err
	}
	if st.Lock, err = lockState(ctx, s, store); err != nil {
		return st, err
	}
	search, err := searchUpgrade(ctx, run.NewJournal(store))
	if err != nil {
		return st, err
	}
	var abandoned *pai.Operation
	if st.Operation = search.rollback; st.Operation == nil {
		st.Operation, abandoned = search.last, search.abandons()
	}
	world, err := Observe(ctx, s)
	if err != nil {
		return st, err
	}
	st.Current, st.APIError = world.Current, world.APIError
	st.Cordoned = cordons(world)
	if op := st.Operation; op != nil {
		if op.Jobs, err = jobsUntilNow(ctx, store, *op); err != nil {
			return st, err
		}
		st.steps(*op)
		st.State = stateOf(*op, st.Lock)
	}
	if abandoned != nil { // no machine waits any longer
		st.State, st.Abandoned = StateAbandoned, &Abandoned{Operation: abandoned.ID, By: abandoned.By, At: abandoned.Ended}
	} else if op := st.Operation; op != nil {
		st.waits(*op, waitNow(ctx, s, *op, world.APIReachable))
	}
	st.Next = st.next()
	return st, nil
}

// jobsUntilNow is the report about the jobs of an operation. While it runs, and
// after it was killed, the baseline of its witness has it.
func jobsUntilNow(ctx context.Context, store run.Store, op pai.Operation) (pai.JobsReport, error) {
	if op.Outcome != pai.OutcomeRunning {
		return op.Jobs, nil
	}
	b, err := readBaseline(ctx, store, baselineFile(op.ID))
	if err != nil || b == nil {
		return op.Jobs, err
	}
	return b.Report(), nil
}

func lockState(ctx context.Context, s *session.Session, store run.Store) (*LockState, error) {
	_, holder, err := run.Current(ctx, store)
	if err != nil || holder == nil {
		return nil, err
	}
	self, err := run.ThisProcess(s.Version, pai.VerbShowStatus)
	if err != nil {
		return nil, err
	}
	return &LockState{Holder: *holder, Health: self.Liveness(*holder)}, nil
}

// stateOf distinguishes an upgrade in progress from a killed one: the process
// that runs an operation holds the lock.
func stateOf(op pai.Operation, lock *LockState) string {
	switch {
	case op.Outcome == pai.OutcomeRunning && lock != nil && lock.Health != "dead" && lock.Verb != pai.VerbScheduledBackup:
		return StateInProgress
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

// waitNow asks the guard about the machines that wait according to the journal.
// The result is unknown if the guard cannot observe.
func waitNow(ctx context.Context, s *session.Session, op pai.Operation, reachable bool) func(pai.Waiting) (guard.Decision, bool) {
	g, err := newGuard(s, nil)
	return func(w pai.Waiting) (guard.Decision, bool) {
		step, ok := waitingStep(op, w)
		if err != nil || !ok || !reachable {
			return guard.Decision{}, false
		}
		d := g.Decide(ctx, step)
		return d, d.Verdict != guard.Refuse
	}
}

// waitingStep returns the step for which a machine waits, with the fields that
// the guard needs. It returns false for an entry that it cannot read.
func waitingStep(op pai.Operation, w pai.Waiting) (plan.Step, bool) {
	step := plan.Step{ID: plan.StepID(w.Step), Kind: plan.Kind(w.Kind), Role: plan.Role(w.Role), Target: w.Machine,
		From: pai.AnyVersion(op.From.Kubernetes), To: w.To, Risk: pai.RiskNode}
	if w.Kind != "" {
		return step, step.Kind.Known()
	}
	parts := strings.Split(w.Step, "/") // v0.10 wrote only the ID: kubernetes/<version>/machine/<name>/<role>
	if len(parts) != 5 || parts[0] != "kubernetes" {
		return plan.Step{}, false
	}
	step.Kind, step.Role, step.To = plan.KindRole, plan.Role(parts[4]), pai.AnyVersion(parts[1])
	if step.Role == plan.RoleKubelet {
		step.Kind, step.Role = plan.KindKubelet, ""
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
		case m.InMaintenance():
			list = append(list, CordonState{Machine: m.Name, By: "maintenance"})
		case m.Node.CordonedByPAI:
			list = append(list, CordonState{Machine: m.Name, By: "PAI", Operation: m.Node.CordonedBy})
		default:
			list = append(list, CordonState{Machine: m.Name, By: "an operator"})
		}
	}
	return list
}

func (st Status) next() string {
	unfinished := st.State == StateWaiting || st.State == StateUnfinished
	if op := st.Operation; unfinished && (op.Verb == pai.VerbRollback || op.Target.Release == "") {
		return op.Command() // nothing that "resume" continues
	}
	switch st.State {
	case StateInProgress:
		return ""
	case StateWaiting:
		for _, w := range st.Waiting {
			if w.Ready {
				return resumeCommand
			}
		}
		return resumeCommand + " --wait"
	case StateUnfinished:
		return resumeCommand
	default:
		for _, c := range st.Cordoned {
			if c.Operation != "" { // of an upgrade that was superseded
				return "paictl upgrade abandon"
			}
		}
		return ""
	}
}
