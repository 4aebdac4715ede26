package operation

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// manyNodes are nodes that several goroutines cordon.
type manyNodes struct {
	mu       sync.Mutex
	cordoned map[string]int
	active   atomic.Int32
	together atomic.Bool // two calls ran at the same time
}

func (n *manyNodes) Cordon(_ context.Context, machine, _ string) (bool, error) {
	if n.active.Add(1) > 1 {
		n.together.Store(true)
	}
	defer n.active.Add(-1)
	time.Sleep(5 * time.Millisecond)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cordoned[machine]++
	return true, nil
}

func (n *manyNodes) Uncordon(_ context.Context, machine string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cordoned, machine)
	return nil
}

func (n *manyNodes) EvictJobs(context.Context, string) error { return nil }

// Machines that are admitted in parallel are each cordoned once and recorded
// once, and evictions of all of them are recorded.
func TestAdmissionOfMachinesInParallel(t *testing.T) {
	t.Parallel()
	entry, err := run.NewJournal(runtest.Dir(t.TempDir())).Begin(t.Context(), pai.Operation{Verb: pai.VerbUpgrade})
	if err != nil {
		t.Fatal(err)
	}
	n := &manyNodes{cordoned: map[string]int{}}
	var evicted sync.Map
	a := &admission{nodes: n, entry: entry, waiting: map[string]pai.Waiting{}, cordoned: map[string]bool{},
		decide: func(_ context.Context, s plan.Step) guard.Decision {
			if _, again := evicted.LoadOrStore(s.ID, true); again {
				return guard.Decision{Verdict: guard.Go, NeedsCordon: true}
			}
			return guard.Decision{Verdict: guard.Go, NeedsEviction: true, Jobs: []pai.JobRef{{User: "ann", Name: s.Target}}}
		}}
	const machines = 20
	var p plan.Plan
	var all sync.WaitGroup
	for i := range machines {
		step := kubeletOf(fmt.Sprintf("gpu-%02d", i))
		p.Steps = append(p.Steps, step)
		all.Go(func() {
			for range 2 { // the executor asks again if another step affects the same jobs
				if _, err := a.check(t.Context(), step); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	op := entry.Operation()
	if len(op.Cordoned) != machines || len(op.Evicted) != machines || len(n.cordoned) != machines {
		t.Errorf("recorded %d cordons and %d evictions of %d cordoned machines, want %d", len(op.Cordoned), len(op.Evicted), len(n.cordoned), machines)
	}
	for m, times := range n.cordoned {
		if times != 1 {
			t.Errorf("%s was cordoned %d times", m, times)
		}
	}
	if !n.together.Load() {
		t.Error("the cordon of one machine waits for that of another")
	}
	if err := a.finalizeCordons(t.Context(), p, resultOf(p, func(plan.Step) pai.Outcome { return pai.OutcomeSucceeded })); err != nil || len(n.cordoned) != 0 {
		t.Errorf("at the end: got cordons %v, error %v", n.cordoned, err)
	}
}

// The jobs of a step are those that it can affect now, which the executor keeps
// from other steps.
func TestAdmissionReturnsJobs(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(t, &field{by: map[string]string{}})
	a.decide = func(context.Context, plan.Step) guard.Decision {
		return guard.Decision{Verdict: guard.Go, Jobs: []pai.JobRef{train}}
	}
	if jobs, err := a.check(t.Context(), kubeletOf("a")); err != nil || len(jobs) != 1 || jobs[0] != train {
		t.Errorf("got jobs %v, error %v, want %v", jobs, err, train)
	}
}

// While the jobs are unknown, two machines could have a job in common.
func TestParallelMachines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		api        bool
		flag, want int
	}{{true, 30, 30}, {true, 0, 0}, {false, 30, 1}, {false, 0, 1}} {
		x := &execution{operation: &operation{options: RunOptions{ParallelMachines: c.flag}}}
		x.preview.world.APIReachable = c.api
		if got := x.parallelMachines(); got != c.want {
			t.Errorf("API reachable %v, flag %d: got %d, want %d", c.api, c.flag, got, c.want)
		}
	}
	w := plan.World{Machines: []plan.MachineState{{Name: "a", ControlPlane: true}, {Name: "b"}}}
	if got := controlPlanes(w); len(got) != 1 || got[0] != "a" {
		t.Errorf("got control planes %v, want a", got)
	}
}
