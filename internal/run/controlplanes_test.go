package run

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// anyControlPlaneStep draws a step on one of several control-plane machines, or of all.
func anyControlPlaneStep(t *rapid.T, i int) plan.Step {
	s := plan.Step{ID: plan.StepID(fmt.Sprint("s", i)), Target: rapid.SampledFrom([]string{"cp-1", "cp-2", "cp-3"}).Draw(t, "machine")}
	s.Risk = rapid.SampledFrom([]pai.Risk{pai.RiskNone, pai.RiskAPI}).Draw(t, "risk")
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		s.Kind, s.From = plan.KindEtcd, "v0.9-pai"
	case 1:
		s.Kind = plan.KindEtcd // starts
	case 2:
		s.Kind = plan.KindAPIServer
	case 3:
		s.Kind = plan.KindCommit
	case 4:
		s.Kind, s.Role = plan.KindRole, plan.RoleControllerManager
	case 5:
		s.Kind, s.Role = plan.KindRole, plan.RoleScheduler
	case 6:
		s.Kind, s.Target = plan.KindVoters, ""
	}
	return s
}

// Whatever a plan says, one step at a time changes etcd, an API server, or a controller, where
// there are several control-plane machines.
func TestExecutorChangesOneControlPlaneMachineAtATime(t *testing.T) {
	t.Parallel()
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		var p plan.Plan
		for i := range rapid.IntRange(2, 8).Draw(t, "steps") {
			p.Steps = append(p.Steps, anyControlPlaneStep(t, i))
		}
		var mu sync.Mutex
		var active []string
		w.do = func(_ context.Context, s plan.Step) error {
			if s.Kind == plan.KindEtcd && s.From == "" {
				return nil
			}
			mu.Lock()
			active = append(active, string(s.ID))
			if len(active) > 1 {
				t.Errorf("at the same time: %s", strings.Join(active, ", "))
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			active = slices.DeleteFunc(active, func(id string) bool { return id == string(s.ID) })
			mu.Unlock()
			return nil
		}
		synctest.Test(outer, func(t *testing.T) {
			e := executor(w)
			for _, s := range p.Steps {
				e.Doers[s.Kind] = w
			}
			e.Limit, e.ControlPlanes = 8, []string{"cp-1", "cp-2", "cp-3"}
			if res := e.Run(t.Context(), p); len(res.Of(pai.OutcomeSucceeded)) != len(p.Steps) {
				t.Errorf("got %s", outcomes(res))
			}
		})
	})
}

// Members that were stopped have a quorum only together, so none waits for another one.
func TestExecutorStartsStoppedMembersTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var p plan.Plan
		all := []string{"cp-1", "cp-2", "cp-3"}
		for _, m := range all {
			p.Steps = append(p.Steps, machineStep(m, plan.KindEtcd, pai.RiskAPI))
		}
		var mu sync.Mutex
		started, quorum := 0, make(chan struct{})
		w.do = func(ctx context.Context, _ plan.Step) error {
			mu.Lock()
			if started++; started == len(all) {
				close(quorum)
			}
			mu.Unlock()
			select {
			case <-quorum:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		e := executor(w)
		e.Doers, e.ControlPlanes = plan.Doers{plan.KindEtcd: w}, all
		if res := e.Run(t.Context(), p); len(res.Of(pai.OutcomeSucceeded)) != len(all) {
			t.Errorf("got %s", outcomes(res))
		}
	})
}
