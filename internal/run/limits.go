package run

import (
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// DefaultParallelMachines is how many machines are changed in parallel unless
// the operator sets another number.
const DefaultParallelMachines = 10

// defaultLimit is how many steps that change no machine run in parallel.
const defaultLimit = 4

// class says which steps of a plan can run in parallel with a step.
type class struct {
	// controlPlane: one of these steps runs at a time.
	controlPlane bool
	// machine: the first step of its work runs alone among these steps. Once one
	// has succeeded, several run in parallel, one for each machine. After one has
	// failed, no other starts.
	machine bool
	// alone: no step that can affect jobs runs at the same time.
	alone bool
}

// classOf returns the class of a step by what it can affect. The API proxy of a
// worker affects only the API access of that machine.
func (l *limits) classOf(s plan.Step) class {
	subject := s.Kind.Traits().Subject
	onMachine := subject == plan.SubjectMachine && s.Target != ""
	ofControlPlane := subject == plan.SubjectCluster || (onMachine && (len(l.controlPlanes) == 0 || slices.Contains(l.controlPlanes, s.Target)))
	switch {
	case s.StartsMember():
		return class{}
	case len(l.controlPlanes) > 1 && s.TakesTurn():
		return class{controlPlane: true}
	case s.Risk == pai.RiskNone:
		return class{}
	case s.Risk == pai.RiskAPI && onMachine:
		return class{controlPlane: ofControlPlane, machine: !ofControlPlane}
	case s.Risk == pai.RiskAPI:
		return class{controlPlane: ofControlPlane}
	case onMachine && (s.Risk == pai.RiskNode || s.Risk == pai.RiskEviction):
		return class{controlPlane: ofControlPlane, machine: true}
	default:
		return class{controlPlane: ofControlPlane, alone: true}
	}
}

// work is what a step does, regardless of the machine.
type work struct {
	kind plan.Kind
	role plan.Role
	to   pai.AnyVersion
}

func workOf(s plan.Step) work { return work{s.Kind, s.Role, s.To} }

// limits decides which steps run in parallel. Only the goroutine of the run uses
// it.
type limits struct {
	general, machines int
	controlPlanes     []string
	jobs              map[plan.StepID][]pai.JobRef

	others, controlPlane, alone int                 // active steps
	changed                     map[string]bool     // machines with an active step
	proven                      map[work]bool       // work that has succeeded on a machine
	unproven                    bool                // the first step of a work is active
	affected                    map[pai.JobRef]bool // jobs that active steps can affect

	// draining is set while a step waits until it can run alone, so that no step
	// after it starts before.
	draining bool
}

func newLimits(e Executor) *limits {
	l := &limits{general: e.Limit, machines: e.Machines, controlPlanes: e.ControlPlanes, jobs: e.Jobs,
		changed: map[string]bool{}, proven: map[work]bool{}, affected: map[pai.JobRef]bool{}}
	if l.general <= 0 {
		l.general = defaultLimit
	}
	if l.machines <= 0 {
		l.machines = DefaultParallelMachines
	}
	return l
}

// allows reports whether a step can start now.
func (l *limits) allows(s plan.Step) bool {
	c := l.classOf(s)
	alone := c.alone || (c.machine && !l.proven[workOf(s)])
	switch {
	case c.controlPlane && l.controlPlane > 0:
		return false
	case alone && (len(l.changed) > 0 || l.alone > 0 || l.draining):
		l.draining = true
		return false
	case c.machine && !alone && (len(l.changed) >= l.machines || l.changed[s.Target] || l.alone > 0 || l.unproven || l.draining):
		return false
	case !c.machine && l.others >= l.general:
		return false
	}
	return !slices.ContainsFunc(l.jobs[s.ID], func(j pai.JobRef) bool { return l.affected[j] })
}

// start counts a step that starts.
func (l *limits) start(s plan.Step) {
	c := l.classOf(s)
	if c.machine {
		l.changed[s.Target] = true
		l.unproven = !l.proven[workOf(s)]
	}
	l.count(c, 1)
	for _, j := range l.jobs[s.ID] {
		l.affected[j] = true
	}
}

// end counts a step that ended.
func (l *limits) end(s plan.Step, outcome pai.Outcome) {
	c := l.classOf(s)
	if c.machine {
		delete(l.changed, s.Target)
		l.unproven = false
		if outcome == pai.OutcomeSucceeded {
			l.proven[workOf(s)] = true
		}
	}
	l.count(c, -1)
	for _, j := range l.jobs[s.ID] {
		delete(l.affected, j)
	}
}

func (l *limits) count(c class, n int) {
	if !c.machine {
		l.others += n
	}
	if c.controlPlane {
		l.controlPlane += n
	}
	if c.alone {
		l.alone += n
	}
}
