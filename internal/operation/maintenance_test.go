package operation

import (
	"context"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// A maintenance that was killed is continued for its machine, and for no other.
func TestMaintenanceContinuesForItsMachine(t *testing.T) {
	t.Parallel()
	ctx, journal := t.Context(), run.NewJournal(runtest.Dir(t.TempDir()))
	at := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	if _, err := journal.Begin(ctx, pai.Operation{Verb: pai.VerbMaintain, From: at, To: at, Target: targetOf(Maintain("gpu-01"))}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		goal Goal
		want bool
	}{{Maintain("gpu-01"), true}, {Maintain("gpu-02"), false}, {Return("gpu-01"), false}} {
		got, err := isUnfinished(ctx, journal, plan.Plan{Verb: c.goal.Verb(), To: at}, targetOf(c.goal))
		if err != nil || got != c.want {
			t.Errorf("%s %s: got continued %v, %v, want %v", c.goal.Verb(), machineOf(c.goal), got, err, c.want)
		}
	}
	if machineOf(Abandon()) != "" {
		t.Error("a goal for the cluster has a machine")
	}
}

// The doers name the operation in the record. Before it has an entry, they record nothing.
func TestMaintenanceIsRecordedWithItsOperation(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	o := newOperation(testSession(t, files, nil), Maintain("gpu-01"), RunOptions{Accept: []string{"evict-jobs:gpu-02"}})
	o.preview.world.Machines = []plan.MachineState{{Name: "gpu-01"}, {Name: "gpu-02", Unreachable: "the helper fails"}}
	hosts := map[string]machine.Host{"gpu-01": o.Hosts["gpu-01"], "gpu-02": o.Hosts["gpu-01"]}
	d := cluster.Deps{Hosts: hosts}
	o.goal.(equipped).Equip(o, &d)
	// A machine that only ssh reaches is off for the plan, and so for its steps.
	if len(hosts) != 2 || len(d.Hosts) != 1 || d.Hosts["gpu-01"] == nil {
		t.Errorf("got the machines %v from %v, want those that were observed", d.Hosts, hosts)
	}
	if _, err := d.Operation(); err == nil {
		t.Error("got an operation without an entry")
	}
	entry, err := run.NewJournal(files).Begin(t.Context(), pai.Operation{Verb: pai.VerbMaintain, By: "ann@ops"})
	if err != nil {
		t.Fatal(err)
	}
	defer o.recorder.into(entry)()
	if d.EndsJobs("gpu-01") || !d.EndsJobs("gpu-02") {
		t.Error("jobs end on a machine that was not named, or not on the one that was")
	}
	if op, err := d.Operation(); err != nil || op.By != "ann@ops" || op.ID == "" {
		t.Errorf("got %+v, %v, want the operation of the entry", op, err)
	}
}

// A return takes the bundle of what the cluster runs, and none if there is nothing to do.
func TestReturnUsesTheBundleOfTheCluster(t *testing.T) {
	t.Parallel()
	s := testSession(t, runtest.Dir(t.TempDir()), func(context.Context, machine.Command) (machine.Output, error) { return machine.Output{}, nil })
	in := plan.MachineState{Name: "gpu-02", Maintenance: &pai.Maintenance{}}
	off, out := in, plan.MachineState{Name: "gpu-02"}
	waits := plan.MachineState{Name: "gpu-02", Node: &plan.Node{Unschedulable: true, Maintenance: "op-1"}}
	off.Unreachable = "no connection"
	for name, c := range map[string]struct {
		machine plan.MachineState
		want    pai.Release
	}{"in maintenance": {in, "v0.9"}, "off": {off, ""}, "not in maintenance": {out, ""}, "waits for its jobs": {waits, ""}} {
		g := Return("gpu-02").(*returnGoal)
		w := plan.World{Current: pai.Pair{Kubernetes: "v0.9-pai"}, Machines: []plan.MachineState{{Name: "gpu-01", Maintenance: &pai.Maintenance{}}, c.machine}}
		_, release := g.Preflight()
		if got := g.Bundle(s, w); got != c.want || release != "" {
			t.Errorf("%s: got the bundle of %q, want %q", name, got, c.want)
		}
		if _, release = g.Preflight(); release != c.want || g.Leads(s, w) != "v0.9-pai" {
			t.Errorf("%s: got checks for %q, want %q", name, release, c.want)
		}
	}
}

func TestCordonForMaintenanceIsNoCordonOfAnUpgrade(t *testing.T) {
	t.Parallel()
	w := plan.World{Machines: []plan.MachineState{
		{Name: "a", Node: &plan.Node{Unschedulable: true, Maintenance: "op-1"}}, {Name: "b", Node: &plan.Node{Unschedulable: true}}}}
	list := cordons(w)
	if len(list) != 2 || list[0].By != "maintenance" || list[0].Operation != "" || list[1].By != "an operator" {
		t.Errorf("got %+v", list)
	}
	if next := (Status{State: StateDone, Cordoned: list}).next(); next != "" {
		t.Errorf("got the next command %q, want none that removes the cordon", next)
	}
}

// Each command names itself when the wait for jobs ends.
func TestWaitNamesTheCommandThatContinues(t *testing.T) {
	t.Parallel()
	w := waiter{steps: []plan.Step{{ID: "drain", Kind: plan.KindDrain, Target: "gpu-01"}}, every: time.Millisecond, end: time.Now().Add(10 * time.Millisecond),
		noticef: t.Logf, command: "paictl machine maintain gpu-01",
		decide: func(context.Context, plan.Step) guard.Decision {
			return guard.Decision{Verdict: guard.Wait, Jobs: []pai.JobRef{train}}
		}}
	err := w.await(t.Context())
	if pai.CodeOf(err) != pai.CodeWaiting || !strings.Contains(err.Error(), "ada~train") || !strings.HasSuffix(pai.NextOf(err), "run: paictl machine maintain gpu-01") {
		t.Errorf("got %v, %q", err, pai.NextOf(err))
	}
}

// An error of a maintenance says that the machine stays cordoned, and how to cancel, if the
// cordon was done, now or in an earlier run.
func TestErrorOfAMaintenanceNamesTheCordon(t *testing.T) {
	t.Parallel()
	cordon, drain := plan.Step{ID: "c", Kind: plan.KindCordon, Target: "gpu-01"}, plan.Step{ID: "d", Kind: plan.KindDrain, Target: "gpu-01"}
	for name, c := range map[string]struct {
		steps    []plan.Step
		outcomes []pai.Outcome
		want     bool
	}{
		"cordoned":           {[]plan.Step{cordon, drain}, []pai.Outcome{pai.OutcomeSucceeded, pai.OutcomeWaiting}, true},
		"cordoned meanwhile": {[]plan.Step{cordon, drain}, []pai.Outcome{pai.OutcomeSkipped, pai.OutcomeRefused}, true},
		"cordoned before":    {[]plan.Step{drain}, []pai.Outcome{pai.OutcomeRefused}, true},
		"not cordoned":       {[]plan.Step{cordon, drain}, []pai.Outcome{pai.OutcomeFailed, pai.OutcomeBlocked}, false},
		"nothing was done":   {[]plan.Step{cordon, drain}, nil, false},
	} {
		var result run.Result
		for _, o := range c.outcomes {
			result.Steps = append(result.Steps, pai.StepRecord{Outcome: o})
		}
		got := Maintain("gpu-01").(maintain).cordonLeft(plan.Plan{Steps: c.steps}, result)
		if said := strings.Contains(got, "gpu-01 stays cordoned; to cancel, run: paictl machine return gpu-01"); said != c.want {
			t.Errorf("%s: got %q, want the cordon named: %v", name, got, c.want)
		}
	}
}
