package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func machineStep(machine string, kind plan.Kind, risk pai.Risk, after ...plan.StepID) plan.Step {
	return plan.Step{ID: plan.StepID(machine + "/" + string(kind)), Kind: kind, Target: machine, Risk: risk, After: after}
}

// overlap is the oracle of what runs at the same time. It is written from the
// rules, not from the code.
type overlap struct {
	t        rapid.TB
	machines int
	jobs     func(plan.Step) []string

	mu        sync.Mutex
	active    []plan.Step
	succeeded []plan.Step
	failures  int // failed steps of machines that were reported
	late      int // steps of machines that started after that
}

func ofMachine(s plan.Step) bool {
	risky := s.Risk == pai.RiskNode || s.Risk == pai.RiskEviction || (s.Risk == pai.RiskAPI && s.Target != "cp-1")
	return s.Target != "" && s.Kind != plan.KindService && risky
}

func ofControlPlane(s plan.Step) bool {
	return s.Risk != pai.RiskNone && (s.Target == "" || s.Target == "cp-1")
}

func sameWork(a, b plan.Step) bool { return a.Kind == b.Kind && a.Role == b.Role && a.To == b.To }

func (o *overlap) begin(s plan.Step) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active = append(o.active, s)
	machines, controlPlane, exclusive, affecting := map[string]int{}, 0, 0, 0
	users := map[string]plan.StepID{}
	for _, a := range o.active {
		if ofMachine(a) {
			machines[a.Target]++
		}
		if ofControlPlane(a) {
			controlPlane++
		}
		if a.Risk == pai.RiskDataPath {
			exclusive++
		}
		if a.Risk != pai.RiskNone && a.Risk != pai.RiskAPI {
			affecting++
		}
		for _, j := range o.jobs(a) {
			if users[j] != "" {
				o.t.Errorf("%s and %s can both affect job %s", users[j], a.ID, j)
			}
			users[j] = a.ID
		}
	}
	if controlPlane > 1 {
		o.t.Errorf("%d steps of the control plane run: %v", controlPlane, o.active)
	}
	if exclusive > 0 && affecting > 1 {
		o.t.Errorf("another step runs beside one of the data path: %v", o.active)
	}
	if len(machines) > o.machines {
		o.t.Errorf("steps of %d machines run, the limit is %d", len(machines), o.machines)
	}
	for m, n := range machines {
		if n > 1 {
			o.t.Errorf("%d steps run on %s", n, m)
		}
	}
	for _, a := range o.active {
		proven := slices.ContainsFunc(o.succeeded, func(d plan.Step) bool { return sameWork(a, d) })
		if ofMachine(a) && !proven && len(machines) > 1 {
			o.t.Errorf("%s is the first of its work and does not run alone: %v", a.ID, o.active)
		}
	}
	if ofMachine(s) && o.failures > 0 {
		o.late++
	}
}

func (o *overlap) end(s plan.Step, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active = slices.DeleteFunc(o.active, func(a plan.Step) bool { return a.ID == s.ID })
	if err == nil {
		o.succeeded = append(o.succeeded, s)
	}
}

func (o *overlap) event(e Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.Kind == StepEnded && e.Outcome == pai.OutcomeFailed && ofMachine(e.Step) {
		o.failures++
	}
}

func anyRiskyStep(t *rapid.T, i int) plan.Step {
	machine := rapid.SampledFrom([]string{"cp-1", "gpu-1", "gpu-2", "gpu-3", "gpu-4"}).Draw(t, "machine")
	s := plan.Step{ID: plan.StepID(fmt.Sprint("s", i)), Target: machine}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1, 2:
		s.Kind, s.Risk = plan.KindKubelet, pai.RiskNode
	case 3, 4:
		s.Kind, s.Role, s.Risk = plan.KindRole, plan.RoleAPIProxy, pai.RiskAPI
	case 5:
		s.Kind, s.Role, s.Risk = plan.KindRole, plan.RoleRuntime, pai.RiskNode
	case 6:
		s.Kind, s.Risk = plan.KindClean, pai.RiskEviction
	case 7:
		s.Kind, s.Target, s.Risk = plan.KindEtcd, "", pai.RiskAPI
	case 8:
		s.Kind, s.Target, s.Risk = plan.KindService, "storage", pai.RiskDataPath
	case 9:
		s.Kind, s.Risk = plan.KindPrograms, pai.RiskNone
	}
	return s
}

// For every plan, duration, and failure, at every moment: one step of the control
// plane, the first machine alone, no more machines than the limit, no two steps
// with a common job; and no other machine after one has failed.
func TestExecutorKeepsClassesAtEveryMoment(t *testing.T) {
	t.Parallel()
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		o := &overlap{t: t, machines: rapid.IntRange(1, 4).Draw(t, "machines")}
		p, fails, takes := plan.Plan{}, map[plan.StepID]bool{}, map[plan.StepID]time.Duration{}
		planned, now := map[plan.StepID][]pai.JobRef{}, map[plan.StepID][]pai.JobRef{}
		names := map[plan.StepID][]string{}
		for i := range rapid.IntRange(1, 14).Draw(t, "steps") {
			s := anyRiskyStep(t, i)
			for j := range i {
				if rapid.IntRange(0, 6).Draw(t, "edge") == 0 {
					s.After = append(s.After, p.Steps[j].ID)
				}
			}
			p.Steps = append(p.Steps, s)
			fails[s.ID] = rapid.IntRange(0, 9).Draw(t, "fails") == 0
			takes[s.ID] = time.Duration(rapid.IntRange(1, 3).Draw(t, "takes")) * time.Millisecond
			if ofMachine(s) && s.Risk != pai.RiskAPI {
				for job := range 3 {
					where := rapid.IntRange(0, 8).Draw(t, "where")
					ref := pai.JobRef{User: "ann", Name: fmt.Sprint("job-", job)}
					if where == 0 {
						planned[s.ID] = append(planned[s.ID], ref)
					}
					if where <= 1 { // where is 1 for a job that started after the plan was made
						now[s.ID] = append(now[s.ID], ref)
						names[s.ID] = append(names[s.ID], ref.Name)
					}
				}
			}
		}
		o.jobs = func(s plan.Step) []string { return names[s.ID] }
		w.do = func(_ context.Context, s plan.Step) (err error) {
			o.begin(s)
			defer func() { o.end(s, err) }()
			time.Sleep(takes[s.ID])
			if fails[s.ID] {
				return errors.New("no")
			}
			return nil
		}
		e := executor(w)
		for _, s := range p.Steps {
			e.Doers[s.Kind] = w
		}
		e.Limit, e.Machines, e.ControlPlanes, e.Jobs, e.Events = 3, o.machines, []string{"cp-1"}, planned, o.event
		e.Admit = func(_ context.Context, s plan.Step) ([]pai.JobRef, error) { return now[s.ID], nil }
		var res Result
		synctest.Test(outer, func(t *testing.T) { // in which a busy host cannot use up the deadlines
			res = e.Run(t.Context(), p)
		})

		if o.late >= o.machines {
			t.Errorf("%d steps of machines started after one had failed", o.late)
		}
		failed := len(res.Of(pai.OutcomeFailed))
		for _, r := range res.Steps {
			by := res.Blocked[plan.StepID(r.ID)]
			switch {
			case r.Outcome == pai.OutcomeSucceeded && !fails[plan.StepID(r.ID)], r.Outcome == pai.OutcomeFailed && fails[plan.StepID(r.ID)]:
			case r.Outcome == pai.OutcomeBlocked && len(by) > 0 && failed > 0:
			default:
				t.Errorf("%s is %s, blocked by %v", r.ID, r.Outcome, by)
			}
		}
	})
}

// After a machine has failed, the steps of other machines that had started end,
// and no other machine starts. Steps that affect no job continue.
func TestExecutorStartsNoMachineAfterFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var p plan.Plan
		for i := range 20 {
			machine := fmt.Sprintf("gpu-%02d", i)
			p.Steps = append(p.Steps, machineStep(machine, plan.KindKubelet, pai.RiskNode),
				machineStep(machine, plan.KindUncordon, pai.RiskNone, plan.StepID(machine+"/"+string(plan.KindKubelet))))
		}
		p.Steps = append(p.Steps, machineStep("gpu-19", plan.KindPrograms, pai.RiskNone))
		w.do = func(_ context.Context, s plan.Step) error {
			if s.ID == "gpu-01/machine-kubelet" {
				return errors.New("no")
			}
			if s.Kind == plan.KindKubelet && s.Target != "gpu-00" {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		}
		e := executor(w)
		e.Doers = plan.Doers{plan.KindKubelet: w, plan.KindUncordon: w, plan.KindPrograms: w}
		e.Machines, e.ControlPlanes = 4, []string{"cp-1"}
		res := e.Run(t.Context(), p)
		done := map[pai.Outcome]int{}
		for _, r := range res.Steps {
			done[r.Outcome]++
			if by := res.Blocked[plan.StepID(r.ID)]; r.Outcome == pai.OutcomeBlocked && !slices.Equal(by, []plan.StepID{"gpu-01/machine-kubelet"}) {
				t.Errorf("%s is blocked by %v, want the step that failed", r.ID, by)
			}
		}
		// gpu-00 alone, then gpu-01 to gpu-04: four kubelets and machines, and the programs.
		if done[pai.OutcomeSucceeded] != 9 || done[pai.OutcomeFailed] != 1 || done[pai.OutcomeBlocked] != 31 {
			t.Errorf("got %v: %s", done, outcomes(res))
		}
	})
}

// A first machine that waits or is refused proves nothing: the next one is alone.
func TestExecutorFirstMachineIsTheFirstThatSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var mu sync.Mutex
		active, first := 0, ""
		w.do = func(_ context.Context, s plan.Step) error {
			mu.Lock()
			active++
			if first == "" {
				first = s.Target
			}
			if active > 1 && first == "" {
				t.Errorf("%s runs beside the first machine", s.Target)
			}
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if s.Target == first && active > 1 {
				t.Errorf("%d machines run while the first one does", active)
			}
			active--
			return nil
		}
		var p plan.Plan
		for i := range 6 {
			p.Steps = append(p.Steps, machineStep(fmt.Sprintf("gpu-%d", i), plan.KindKubelet, pai.RiskNode))
		}
		e := executor(w)
		e.Doers, e.ControlPlanes = plan.Doers{plan.KindKubelet: w}, []string{"cp-1"}
		e.Admit = func(_ context.Context, s plan.Step) ([]pai.JobRef, error) {
			switch s.Target {
			case "gpu-0":
				return nil, pai.Errorf(pai.CodeWaiting, "", "job ann~llama runs there")
			case "gpu-1":
				return nil, errors.New("no")
			}
			return nil, nil
		}
		res := e.Run(t.Context(), p)
		if got := len(res.Of(pai.OutcomeSucceeded)); got != 4 || first != "gpu-2" {
			t.Errorf("got %d machines, the first was %s: %s", got, first, outcomes(res))
		}
	})
}

// Two machines with a common job are changed one after the other, whether the
// job was known when the plan was made or started later. Other machines do not wait.
func TestExecutorChangesMachinesWithCommonJobOneAtATime(t *testing.T) {
	t.Parallel()
	job := []pai.JobRef{{User: "ann", Name: "llama"}}
	for name, known := range map[string]bool{"known job": true, "job that started later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				var mu sync.Mutex
				active := map[string]bool{}
				others := false
				w.do = func(_ context.Context, s plan.Step) error {
					mu.Lock()
					active[s.Target] = true
					if active["gpu-1"] && active["gpu-2"] {
						t.Error("both machines of the job are changed")
					}
					others = others || active["gpu-1"] && active["gpu-3"] || active["gpu-2"] && active["gpu-3"]
					mu.Unlock()
					time.Sleep(30 * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					delete(active, s.Target)
					return nil
				}
				e := executor(w)
				e.Doers, e.ControlPlanes, e.Jobs = plan.Doers{plan.KindKubelet: w}, []string{"cp-1"}, map[plan.StepID][]pai.JobRef{}
				var p plan.Plan
				for i := range 4 { // gpu-0 is the first
					s := machineStep(fmt.Sprintf("gpu-%d", i), plan.KindKubelet, pai.RiskNode)
					p.Steps = append(p.Steps, s)
					if known && (i == 1 || i == 2) {
						e.Jobs[s.ID] = job
					}
				}
				e.Admit = func(_ context.Context, s plan.Step) ([]pai.JobRef, error) {
					if !known && (s.Target == "gpu-1" || s.Target == "gpu-2") {
						return job, nil
					}
					return nil, nil
				}
				if res := e.Run(t.Context(), p); res.Err() != nil || !others {
					t.Errorf("got %s, another machine in parallel: %v", outcomes(res), others)
				}
			})
		})
	}
}
