package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/inspecttest"
	"pai.dev/pai/test/runtest"
)

// flow runs goals on one machine, and records what the flow does in its order.
type flow struct {
	*session.Session
	t     *testing.T
	files runtest.Dir

	mu    sync.Mutex
	calls []string
	exist map[string]bool // directories of the machine
	fail  error           // of every deletion
}

func newFlow(t *testing.T, directories ...string) *flow {
	t.Helper()
	f := &flow{t: t, files: runtest.Dir(t.TempDir()), exist: map[string]bool{}}
	for _, d := range directories {
		f.exist["/var/lib/pai/"+d] = true
	}
	f.Session = testSession(t, f.files, f.answer)
	return f
}

func (f *flow) called(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

func (f *flow) answer(_ context.Context, c machine.Command) (machine.Output, error) {
	answered, err := inspecttest.AnswerWith(c, func(inspect.Request) inspect.Report { return inspect.Report{Prepared: &inspect.Preparation{}} })
	if answered {
		return machine.Output{}, err
	}
	for dir := range f.exist {
		switch {
		case !strings.Contains(c.Script, dir):
		case !strings.HasPrefix(c.Script, "# remove "):
			return machine.Output{Stdout: "there\n"}, nil
		case f.fail != nil:
			return machine.Output{Stderr: "password=hunter2"}, f.fail
		default:
			f.called("delete %s", filepath.Base(dir))
			delete(f.exist, dir)
		}
	}
	return machine.Output{}, nil
}

// ShowPlan and the methods below are those of an observer.
func (f *flow) ShowPlan(_ context.Context, p Preview) error {
	f.called("show %d steps", len(p.Plan.Steps))
	return nil
}
func (f *flow) Event(run.Event)       {}
func (f *flow) Witness(WitnessStatus) {}

// operations are the journal entries.
func (f *flow) operations() []pai.Operation {
	f.t.Helper()
	all, err := run.NewJournal(f.files).List(context.WithoutCancel(f.t.Context()))
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// wantUnlocked wants that no process holds the lock.
func (f *flow) wantUnlocked() {
	f.t.Helper()
	if _, holder, err := run.Current(context.WithoutCancel(f.t.Context()), f.files); holder != nil || err != nil {
		f.t.Errorf("got lock holder %v, %v, want a free lock", holder, err)
	}
}

// wantCalls wants exactly these calls.
func (f *flow) wantCalls(want ...string) {
	f.t.Helper()
	if !slices.Equal(f.calls, want) {
		f.t.Errorf("got calls %q, want %q", f.calls, want)
	}
}

// deletions is a goal that deletes volumes.
type deletions struct {
	*flow
	volumes   []string
	plans     int      // that were made
	change    bool     // of the second plan
	risk      pai.Risk // of each step
	refuse    error    // of Reconfigure
	risks     map[string]string
	mustWrite bool
}

func (g *deletions) Verb() pai.Verb { return pai.VerbDeleteService }

func (g *deletions) Plan(in plan.Input) (plan.Plan, error) {
	g.plans++
	g.called("plan")
	p := plan.Plan{Verb: g.Verb(), Hops: []plan.Hop{}, Steps: []plan.Step{}}
	volumes := g.volumes
	if g.change && g.plans > 1 {
		volumes = volumes[1:]
	}
	for _, v := range volumes {
		if g.exist["/var/lib/pai/"+v] {
			p.Steps = append(p.Steps, plan.Step{ID: plan.StepID("volume/" + v), Kind: plan.KindVolume, Target: v, Risk: cmp.Or(g.risk, pai.RiskNone)})
		}
	}
	return p, nil
}

func (g *deletions) Gather(context.Context, *session.Session, *plan.Input) error {
	g.called("gather")
	return nil
}

func (g *deletions) Reconfigure(*configsync.Step, plan.Plan) error {
	g.called("reconfigure")
	return g.refuse
}

func (g *deletions) Applies(plan.Plan) []revision.Part { return []revision.Part{revision.Services} }

func (g *deletions) Consequences(context.Context, *session.Session, plan.Plan, plan.World) (consequences, error) {
	return consequences{risks: g.risks}, nil
}

func (g *deletions) MustRecord(context.Context, *session.Session) (bool, error) {
	return g.mustWrite, nil
}

func TestFlowRunsStagesInOrder(t *testing.T) {
	t.Parallel()
	f := newFlow(t, "a", "b", "images")
	op, err := Run(t.Context(), f.Session, &deletions{flow: f, volumes: []string{"a", "b"}}, RunOptions{Observer: f})
	if err != nil || op.Outcome != pai.OutcomeSucceeded || len(op.Steps) != 2 || op.Revision != 1 {
		t.Fatalf("got %+v, %v", op, err)
	}
	slices.Sort(f.calls[6:]) // the steps run in parallel
	f.wantCalls("gather", "plan", "show 2 steps", "gather", "plan", "reconfigure", "delete a", "delete b")
	if all := f.operations(); len(all) != 1 || all[0].ID != op.ID || !f.exist["/var/lib/pai/images"] {
		t.Errorf("got journal %+v, directories %v", all, f.exist)
	}
	if a, err := revision.NewStore(f.files).Applied(t.Context()); err != nil || a[revision.Services] != 1 {
		t.Errorf("got applied %v, %v, want services at 1", a, err)
	}
	f.wantUnlocked()
}

// Each of these ends the operation before anything is changed.
func TestFlowEndsEarly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		volumes []string
		prepare func(f *flow, g *deletions, o *RunOptions)
		code    pai.Code
		want    string // in the error; empty for success
		calls   []string
	}{
		"dry run":       {[]string{"a"}, func(_ *flow, _ *deletions, o *RunOptions) { o.DryRun = true }, "", "", []string{"gather", "plan", "show 1 steps"}},
		"nothing to do": {nil, func(*flow, *deletions, *RunOptions) {}, "", "", []string{"gather", "plan", "show 0 steps"}},
		"saved plan for another cluster": {[]string{"a"}, func(_ *flow, _ *deletions, o *RunOptions) { o.SavedPlan = &plan.Saved{ClusterID: "other"} },
			pai.CodeRefused, `the plan is for cluster "other"`, []string{"gather", "plan"}},
		"saved plan differs": {[]string{"a"}, func(_ *flow, _ *deletions, o *RunOptions) { o.SavedPlan = &plan.Saved{ClusterID: "lab", Made: "today"} },
			pai.CodeRefused, "is out of date", []string{"gather", "plan"}},
		"outdated directory": {[]string{"a"}, func(f *flow, _ *deletions, _ *RunOptions) { f.pushByAnotherOperator() },
			pai.CodeRefused, "was not pulled from the cluster", []string{"gather", "plan"}},
		"plan cannot be shown": {[]string{"a"}, func(f *flow, _ *deletions, o *RunOptions) { o.Observer = unshown{f} },
			pai.CodeFailed, "no terminal", []string{"gather", "plan"}},
		"risk not accepted": {[]string{"a"}, func(_ *flow, g *deletions, _ *RunOptions) { g.risks = map[string]string{"loss": "writes will be lost"} },
			pai.CodeRefused, "refused: writes will be lost", []string{"gather", "plan", "show 1 steps"}},
		"guard refuses": {[]string{"a"}, func(_ *flow, g *deletions, _ *RunOptions) { g.risk = pai.RiskEviction },
			pai.CodeRefused, "volume/a", []string{"gather", "plan", "show 1 steps"}},
		"lock is held": {[]string{"a"}, func(f *flow, _ *deletions, _ *RunOptions) { f.lockByAnotherProcess() },
			pai.CodeLocked, "operation", []string{"gather", "plan", "show 1 steps"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t, "a")
			g, o := &deletions{flow: f, volumes: c.volumes}, RunOptions{Observer: f}
			c.prepare(f, g, &o)
			op, err := Run(t.Context(), f.Session, g, o)
			if (err == nil) != (c.want == "") || (err != nil && (!strings.Contains(err.Error(), c.want) || pai.CodeOf(err) != c.code)) {
				t.Errorf("got %v (%s), want %q (%s)", err, pai.CodeOf(err), c.want, c.code)
			}
			if op.ID != "" || len(f.operations()) != 0 || !f.exist["/var/lib/pai/a"] {
				t.Errorf("got operation %+v, journal %v, directories %v, want no change", op, f.operations(), f.exist)
			}
			f.wantCalls(c.calls...)
		})
	}
}

type unshown struct{ *flow }

func (unshown) ShowPlan(context.Context, Preview) error { return errors.New("no terminal") }

func (f *flow) pushByAnotherOperator() {
	f.t.Helper()
	files, err := config.Files(f.Config.Dir)
	if err != nil {
		f.t.Fatal(err)
	}
	files[config.LayoutFile] = append(files[config.LayoutFile], "# theirs\n"...)
	if _, err := revision.NewStore(f.files).Add(f.t.Context(), 0, "bob@desk", "theirs", files); err != nil {
		f.t.Fatal(err)
	}
}

func (f *flow) lockByAnotherProcess() {
	f.t.Helper()
	holder, err := run.ThisProcess("v0.10", pai.VerbUpgrade)
	if err == nil {
		var lock *run.Lock
		if lock, err = run.Acquire(f.t.Context(), f.files, holder, run.LockOptions{}); err == nil {
			f.t.Cleanup(func() { _ = lock.Release(context.WithoutCancel(f.t.Context())) })
		}
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// With the lock held, each of these ends the operation before its first step.
func TestFlowEndsUnderTheLock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(f *flow, g *deletions)
		code    pai.Code
		want    string
	}{
		"the plan changed":            {func(_ *flow, g *deletions) { g.change = true }, pai.CodeRefused, "the cluster changed after the plan was shown"},
		"reconfigure fails":           {func(_ *flow, g *deletions) { g.refuse = errors.New("disk full") }, pai.CodeFailed, "disk full"},
		"the journal is no directory": {func(f *flow, _ *deletions) { f.block("operations") }, pai.CodeFailed, "operations"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFlow(t, "a", "b")
			g := &deletions{flow: f, volumes: []string{"a", "b"}}
			c.prepare(f, g)
			op, err := Run(t.Context(), f.Session, g, RunOptions{Observer: f})
			if err == nil || !strings.Contains(err.Error(), c.want) || pai.CodeOf(err) != c.code {
				t.Errorf("got %v (%s), want %q (%s)", err, pai.CodeOf(err), c.want, c.code)
			}
			if op.ID != "" || len(f.exist) != 2 {
				t.Errorf("got operation %+v, directories %v, want no change", op, f.exist)
			}
			f.wantUnlocked()
		})
	}
}

// block puts a file where the store needs a directory.
func (f *flow) block(name string) {
	f.t.Helper()
	at := f.files.At("/var/lib/pai/" + name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o700), os.WriteFile(at, nil, 0o600)); err != nil {
		f.t.Fatal(err)
	}
}

func TestFailedStepIsRecordedAndLogged(t *testing.T) {
	t.Parallel()
	f := newFlow(t, "a")
	f.fail = &machine.CommandError{Host: "gpu-01", Code: 1, Output: "device busy"}
	op, err := Run(t.Context(), f.Session, &deletions{flow: f, volumes: []string{"a"}}, RunOptions{Observer: f})
	if err == nil || op.Outcome != pai.OutcomeFailed || pai.CodeOf(err) != pai.CodeFailed || !strings.Contains(err.Error(), "device busy") {
		t.Fatalf("got %+v, %v", op, err)
	}
	if all := f.operations(); len(all) != 1 || all[0].Outcome != pai.OutcomeFailed || all[0].Ended.IsZero() {
		t.Errorf("got journal %+v", all)
	}
	f.wantUnlocked()
	_, path, _ := strings.Cut(err.Error(), "\nlog: ")
	data, readErr := os.ReadFile(path)
	if readErr != nil || filepath.Dir(path) != filepath.Join(f.Dirs.State, "logs") {
		t.Fatalf("%v does not name the log: %v", err, readErr)
	}
	for _, want := range []string{"name=observe", `name="run steps"`, "remove '/var/lib/pai/a'", "exit=1", "step=volume/a", "device busy", "outcome=failed"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("want %q in the log:\n%s", want, data)
		}
	}
	if strings.Contains(string(data), "hunter2") {
		t.Errorf("a password is in the log:\n%s", data)
	}
	if fmt.Sprintf("%T", f.Hosts["gpu-01"]) != "*sessiontest.Host" {
		t.Errorf("got host %T after the operation, want the one before", f.Hosts["gpu-01"])
	}
}

// A goal that must be recorded is, although its plan has no steps.
func TestFlowRecordsWithoutSteps(t *testing.T) {
	t.Parallel()
	f := newFlow(t)
	op, err := Run(t.Context(), f.Session, &deletions{flow: f, mustWrite: true}, RunOptions{})
	if err != nil || op.Outcome != pai.OutcomeSucceeded || len(f.operations()) != 1 {
		t.Errorf("got %+v, %v, journal %+v", op, err, f.operations())
	}
}

// An operation that was killed continues its journal entry.
func TestFlowResumesItsEntry(t *testing.T) {
	t.Parallel()
	f := newFlow(t, "b")
	entry, err := run.NewJournal(f.files).Begin(t.Context(), pai.Operation{Verb: pai.VerbDeleteService, Steps: []pai.StepRecord{{ID: "volume/a", Outcome: pai.OutcomeRunning}}})
	if err != nil {
		t.Fatal(err)
	}
	op, err := Run(t.Context(), f.Session, &deletions{flow: f, volumes: []string{"a", "b"}}, RunOptions{Accept: []string{"interrupt-jobs"}})
	if err != nil || op.ID != entry.Operation().ID || len(op.Steps) != 2 || op.Steps[0].Outcome != pai.OutcomeSkipped || !slices.Equal(op.AcceptedRisks, []string{"interrupt-jobs"}) {
		t.Errorf("got %+v, %v", op, err)
	}
}

// checkedDeletions has preflight checks, which fail on a machine without Linux.
type checkedDeletions struct{ deletions }

func (*checkedDeletions) Preflight() (check.Stage, pai.Release) { return check.Upgrade, "v0.10" }

func TestFlowEndsWhenPreflightChecksFail(t *testing.T) {
	t.Parallel()
	f := newFlow(t, "a")
	g := &checkedDeletions{deletions{flow: f, volumes: []string{"a"}}}
	op, err := Run(t.Context(), f.Session, g, RunOptions{Observer: f})
	if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "preflight checks failed, nothing was changed") || op.ID != "" {
		t.Errorf("got %+v, %v", op, err)
	}
	f.wantCalls("gather", "plan", "show 1 steps")
}

// The entry of an operation whose witness cannot start ends as failed.
func TestEntryEndsWhenStartFails(t *testing.T) {
	t.Parallel()
	f := newFlow(t, "a")
	entry, err := run.NewJournal(f.files).Begin(t.Context(), pai.Operation{Verb: pai.VerbDeleteService})
	if err == nil {
		err = f.files.WriteFile(t.Context(), baselineFile(entry.Operation().ID), []byte("{"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	op, err := Run(t.Context(), f.Session, &deletions{flow: f, volumes: []string{"a"}}, RunOptions{})
	if err == nil || !strings.Contains(err.Error(), "read baseline of the witness") || op.ID != entry.Operation().ID || op.Outcome != pai.OutcomeFailed || !f.exist["/var/lib/pai/a"] {
		t.Errorf("got %+v, %v", op, err)
	}
	f.wantUnlocked()
}
