package operation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
)

// removalSession has the machines cp-01 and gpu-02 in its layout.
func removalSession(t *testing.T, files runtest.Dir) *session.Session {
	t.Helper()
	s := testSession(t, files, nil)
	list := []config.Machine{{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: config.RoleControlPlane}, {Hostname: "gpu-02", HostIP: "10.1.0.2", Role: config.RoleWorker}}
	if err := config.Write(s.Config.Dir, config.New("lab", s.Config.Pair(), list, s.Config.Services.Cluster.Common.TrustedBundleKeys)); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.Config, err = config.Load(s.Config.Dir); err != nil {
		t.Fatal(err)
	}
	return s
}

func removalInput(change func(m *plan.MachineState)) *plan.Input {
	m := plan.MachineState{Name: "gpu-02", Node: &plan.Node{Ready: true}}
	change(&m)
	return &plan.Input{World: plan.World{APIReachable: true, Current: pai.Pair{Kubernetes: "v0.10-pai"},
		Machines: []plan.MachineState{{Name: "gpu-01", ControlPlane: true, Node: &plan.Node{Ready: true}}, m}}}
}

// The risk of a machine that cannot be observed has the name of the machine. A reachable one has
// none, and neither has one that an earlier run has cleaned or for which it was accepted.
func TestRemovalOfALostMachineNeedsConsent(t *testing.T) {
	t.Parallel()
	off := func(m *plan.MachineState) { m.Unreachable, m.Node.Ready = "no route", false }
	inLayout, lost := removalInput(func(*plan.MachineState) {}).World, removalInput(off).World
	out := removalInput(func(m *plan.MachineState) { m.Name = "gpu-03" }).World
	out.Unconfigured.Nodes = []plan.UnconfiguredNode{{Name: "gpu-02"}}
	for name, c := range map[string]struct {
		world   plan.World
		earlier earlierRemoval
		consent bool
		left    bool
	}{
		"reachable":                  {inLayout, earlierRemoval{}, false, false},
		"unreachable":                {lost, earlierRemoval{}, true, true},
		"out of the layout":          {out, earlierRemoval{}, true, true},
		"out of it, cleaned before":  {out, earlierRemoval{cleaned: true}, false, false},
		"out of it, accepted before": {out, earlierRemoval{accepted: true}, false, true},
	} {
		g := RemoveMachine("gpu-02").(*removeGoal)
		g.earlier = c.earlier
		found, err := g.Consequences(t.Context(), nil, plan.Plan{}, c.world)
		if err != nil {
			t.Fatal(err)
		}
		err = found.requireConsent([]string{guard.AcceptEvict("gpu-02"), guard.AcceptLose("gpu-01")})
		if (err != nil) != c.consent || c.consent && (pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(pai.NextOf(err), "--accept-risk=lose-machine:gpu-02")) {
			t.Errorf("%s: got %v, %q, want consent %v", name, err, pai.NextOf(err), c.consent)
		}
		if err := found.requireConsent([]string{guard.AcceptLose("gpu-02")}); err != nil {
			t.Errorf("%s: got %v although it was accepted", name, err)
		}
		if (g.left != "") != c.left {
			t.Errorf("%s: got left %q, want %v", name, g.left, c.left)
		}
	}
}

// What stays on a machine is in the record once its node is to be deleted.
func TestRemovalRecordsWhatIsLeft(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	g := RemoveMachine("gpu-02").(*removeGoal)
	o := newOperation(testSession(t, files, nil), g, RunOptions{})
	entry, err := run.NewJournal(files).Begin(t.Context(), pai.Operation{Verb: g.Verb()})
	if err != nil {
		t.Fatal(err)
	}
	defer o.recorder.into(entry)()
	for _, c := range []struct {
		left string
		kind plan.Kind
		want string
	}{{"files", plan.KindLayout, ""}, {"", plan.KindRemoveNode, ""}, {"files", plan.KindRemoveNode, "files"}} {
		g.left = c.left
		if decided, err := g.Admit(t.Context(), o, plan.Step{Kind: c.kind}); decided || err != nil || entry.Operation().Left != c.want {
			t.Errorf("%s: got decided %v, %v, left %q, want %q", c.kind, decided, err, entry.Operation().Left, c.want)
		}
	}
}

// The journal says what earlier runs did to a machine that is no longer in the layout. An earlier
// machine of its name does not count, and no other operation.
func TestRemovalReadsEarlierRuns(t *testing.T) {
	t.Parallel()
	op := func(verb pai.Verb, machine string, outcome pai.Outcome, risk string, clean pai.Outcome) pai.Operation {
		return pai.Operation{Verb: verb, Outcome: outcome, Target: pai.UpgradeTarget{Machine: machine}, AcceptedRisks: []string{risk},
			Steps: []pai.StepRecord{{ID: "removal/machine/gpu-02/clean", Outcome: clean}}}
	}
	const remove, failed = pai.VerbRemove, pai.OutcomeFailed
	for name, c := range map[string]struct {
		newest []pai.Operation
		want   earlierRemoval
	}{
		"cleaned":                 {[]pai.Operation{op(remove, "gpu-02", failed, "", pai.OutcomeSucceeded)}, earlierRemoval{cleaned: true}},
		"cleaned before that":     {[]pai.Operation{op(remove, "gpu-02", failed, "", pai.OutcomePending), op(remove, "gpu-02", failed, "", pai.OutcomeSkipped)}, earlierRemoval{cleaned: true}},
		"accepted":                {[]pai.Operation{op(remove, "gpu-02", failed, "lose-machine:gpu-02", pai.OutcomePending)}, earlierRemoval{accepted: true}},
		"another machine":         {[]pai.Operation{op(remove, "gpu-03", failed, "lose-machine:gpu-02", pai.OutcomeSucceeded)}, earlierRemoval{}},
		"another operation":       {[]pai.Operation{op(pai.VerbMaintain, "gpu-02", failed, "lose-machine:gpu-02", pai.OutcomeSucceeded)}, earlierRemoval{}},
		"an earlier machine":      {[]pai.Operation{op(remove, "gpu-02", pai.OutcomeSucceeded, "lose-machine:gpu-02", pai.OutcomeSucceeded)}, earlierRemoval{}},
		"a clean that failed":     {[]pai.Operation{op(remove, "gpu-02", failed, "", failed)}, earlierRemoval{}},
		"before an older machine": {[]pai.Operation{op(remove, "gpu-02", failed, "", failed), op(remove, "gpu-02", pai.OutcomeSucceeded, "", pai.OutcomeSucceeded), op(remove, "gpu-02", failed, "", pai.OutcomeSucceeded)}, earlierRemoval{}},
	} {
		var got earlierRemoval
		for _, op := range c.newest {
			if got.add(op, remove, "gpu-02") {
				break
			}
		}
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
	files := runtest.Dir(t.TempDir())
	s := removalSession(t, files)
	if _, err := run.NewJournal(files).Begin(t.Context(), op(remove, "gpu-09", "", "lose-machine:gpu-09", "")); err != nil {
		t.Fatal(err)
	}
	g := RemoveMachine("gpu-09").(*removeGoal)
	if err := g.Gather(t.Context(), s, removalInput(func(*plan.MachineState) {})); err != nil || !g.earlier.accepted {
		t.Errorf("got %+v, %v, want the risk that the journal has", g.earlier, err)
	}
	g.name = "gpu-02" // a machine of the layout needs consent again
	if err := g.Gather(t.Context(), s, removalInput(func(*plan.MachineState) {})); err != nil || g.earlier.accepted {
		t.Errorf("got %+v, %v, want nothing of an earlier run", g.earlier, err)
	}
}

// What would refuse the removal in its middle refuses it before anything is done.
func TestRemovalIsRefusedEarly(t *testing.T) {
	t.Parallel()
	ready := func(*plan.MachineState) {}
	s := removalSession(t, runtest.Dir(t.TempDir()))
	file := filepath.Join(s.Config.Dir, config.LayoutFile)
	layout, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	gather := func(name string, in *plan.Input) error {
		return RemoveMachine(name).(gatherer).Gather(t.Context(), s, in)
	}
	if err := gather("gpu-02", removalInput(ready)); err != nil {
		t.Fatal(err)
	}
	if err := gather("gpu-01", removalInput(ready)); err != nil {
		t.Errorf("got %v for the control-plane machine, which planning refuses", err)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != string(layout) {
		t.Errorf("the layout changed: %v\n%s", err, now)
	}
	if err := os.WriteFile(file, []byte("schema-version: 2\nmachine-list: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := gather("gpu-02", removalInput(ready)); pai.CodeOf(err) != pai.CodeInvalid {
		t.Errorf("got %v for an invalid configuration", err)
	}
	// Another operator pushed meanwhile.
	if err := os.WriteFile(file, layout, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := s.Revisions()
	if err == nil {
		_, err = store.Add(t.Context(), 0, "bob@ops", "other", map[string][]byte{config.LayoutFile: []byte("other")})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gpu-02", "gpu-09"} { // in the layout, and not in it
		if err := gather(name, removalInput(ready)); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "was not pulled") {
			t.Errorf("%s: got %v for an outdated directory", name, err)
		}
	}
}

// An error says that the machine stays cordoned while it can return.
func TestErrorOfARemovalNamesTheCordon(t *testing.T) {
	t.Parallel()
	var steps []plan.Step
	for _, k := range []plan.Kind{plan.KindCordon, plan.KindDrain, plan.KindClean, plan.KindLayout, plan.KindRemoveNode} {
		steps = append(steps, plan.Step{Kind: k, Target: "gpu-02"})
	}
	g := RemoveMachine("gpu-02").(cordoning)
	for done, want := range []bool{false, true, true, true, false, false} {
		var result run.Result
		for i := range steps {
			outcome := pai.OutcomeSucceeded
			if i >= done {
				outcome = pai.OutcomeBlocked
			}
			result.Steps = append(result.Steps, pai.StepRecord{Outcome: outcome})
		}
		if got := g.cordonLeft(plan.Plan{Steps: steps}, result); (got != "") != want {
			t.Errorf("after %d steps: got %q, want the cordon named: %v", done, got, want)
		}
	}
	if got := g.cordonLeft(plan.Plan{Steps: steps[2:]}, run.Result{}); !strings.Contains(got, "paictl machine return gpu-02") {
		t.Errorf("in maintenance: got %q", got)
	}
	if got := g.cordonLeft(plan.Plan{Steps: steps[3:]}, run.Result{}); got != "" {
		t.Errorf("out of the layout: got %q", got)
	}
}

// The end of jobs on a lost machine is accepted with the machine, and only while it is lost.
func TestRemovalEndsJobsOfALostMachine(t *testing.T) {
	t.Parallel()
	o := newOperation(testSession(t, runtest.Dir(t.TempDir()), nil), RemoveMachine("gpu-02"), RunOptions{Accept: []string{"lose-machine:gpu-02", "lose-machine:gpu-01"}})
	o.preview.world.Machines = []plan.MachineState{{Name: "gpu-01"}, {Name: "gpu-02", Unreachable: "no route"}}
	d := cluster.Deps{Hosts: map[string]machine.Host{"gpu-01": o.Hosts["gpu-01"], "gpu-02": o.Hosts["gpu-01"]}}
	o.goal.(equipped).Equip(o, &d)
	if d.EndsJobs("gpu-01") || !d.EndsJobs("gpu-02") || d.EndsJobs("gpu-03") {
		t.Error("jobs end on a machine that is not lost, or not on the one that is")
	}
}

// A command that waits names itself, and how to cancel.
func TestContinuationNamesItsCommand(t *testing.T) {
	t.Parallel()
	for want, g := range map[string]Goal{"paictl machine remove gpu-02": RemoveMachine("gpu-02"), "paictl machine maintain gpu-02": Maintain("gpu-02"), resumeCommand: Upgrade(plan.Target{})} {
		command, cancel := continuation(g)
		if command != want || strings.Contains(cancel, "paictl machine return gpu-02") != (machineOf(g) != "") {
			t.Errorf("%s: got %q, %q, want %q", g.Verb(), command, cancel, want)
		}
	}
}
