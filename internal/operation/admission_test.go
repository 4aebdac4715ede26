package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/run/runtest"
)

// field is a cluster whose machines have jobs and are cordoned.
type field struct {
	by    map[string]string // machine → who cordoned it
	jobs  map[string][]pai.JobRef
	lost  error // the API is away
	onAny func(machine string)
	log   []string
}

func (f *field) Cordon(_ context.Context, machine, operation string) (bool, error) {
	f.log = append(f.log, "cordon "+machine)
	if f.lost != nil {
		return false, f.lost
	}
	if f.onAny != nil {
		f.onAny(machine)
	}
	if f.by[machine] != "" {
		return false, nil
	}
	f.by[machine] = operation
	return true, nil
}

func (f *field) Uncordon(_ context.Context, machine string) error {
	f.log = append(f.log, "uncordon "+machine)
	delete(f.by, machine)
	return f.lost
}

func (f *field) EvictJobs(_ context.Context, machine string) error {
	f.log = append(f.log, "evict "+machine)
	delete(f.jobs, machine)
	return nil
}

// decide is a guard for machines whose gate is not met.
func (f *field) decide(accepted ...string) func(context.Context, plan.Step) guard.Decision {
	return func(_ context.Context, s plan.Step) guard.Decision {
		jobs := f.jobs[s.Target]
		switch {
		case len(jobs) == 0:
			return guard.Decision{Verdict: guard.Go, Reason: "no job runs", NeedsCordon: true}
		case slices.Contains(accepted, guard.AcceptEvict(s.Target)) && s.Kind == plan.KindClean:
			return guard.Decision{Verdict: guard.Go, Jobs: jobs, EndsJobs: true}
		case slices.Contains(accepted, guard.AcceptEvict(s.Target)):
			return guard.Decision{Verdict: guard.Go, Jobs: jobs, NeedsEviction: true}
		default:
			return guard.Decision{Verdict: guard.Wait, Jobs: jobs, Reason: "busy", Next: "wait"}
		}
	}
}

var train = pai.JobRef{User: "ada", Name: "train"}

func kubeletOf(machine string) plan.Step {
	return plan.Step{ID: plan.StepID("kubernetes/v2/machine/" + machine + "/kubelet"), Kind: plan.KindKubelet, Target: machine, To: "v2", Risk: pai.RiskNode}
}

func newTestAdmission(t *testing.T, f *field, accepted ...string) *admission {
	t.Helper()
	entry, err := run.NewJournal(runtest.Dir(t.TempDir())).Begin(t.Context(), pai.Operation{Verb: pai.VerbUpgrade})
	if err != nil {
		t.Fatal(err)
	}
	return &admission{decide: f.decide(accepted...), nodes: f, entry: entry,
		waiting: map[string]pai.Waiting{}, cordoned: map[string]bool{}}
}

// resultOf pretends that the steps ended so.
func resultOf(p plan.Plan, outcome func(plan.Step) pai.Outcome) run.Result {
	var r run.Result
	for _, s := range p.Steps {
		r.Steps = append(r.Steps, pai.StepRecord{ID: string(s.ID), Outcome: outcome(s)})
	}
	return r
}

// TestAdmission: one machine is busy, one idle, one idle and cordoned by an
// operator. None meets the gate.
func TestAdmission(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{"theirs": "an operator"}, jobs: map[string][]pai.JobRef{"busy": {train}}}
	a := newTestAdmission(t, f)
	ctx := t.Context()
	p := plan.Plan{Steps: []plan.Step{kubeletOf("busy"), kubeletOf("idle"), kubeletOf("theirs")}}
	outcomes := map[string]pai.Outcome{}
	for _, s := range p.Steps {
		outcomes[s.Target] = pai.OutcomeSucceeded
		if err := a.check(ctx, s); pai.CodeOf(err) == pai.CodeWaiting && err != nil {
			outcomes[s.Target] = pai.OutcomeWaiting
		} else if err != nil {
			t.Errorf("%s: %v", s.ID, err)
		}
	}
	id := a.entry.Operation().ID
	if got, want := fmt.Sprint(f.by), fmt.Sprint(map[string]string{"idle": id, "theirs": "an operator"}); got != want {
		t.Errorf("while steps are done, cordoned are %s, want %s", got, want)
	}
	if err := a.finalizeCordons(ctx, p, resultOf(p, func(s plan.Step) pai.Outcome { return outcomes[s.Target] })); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(f.by), fmt.Sprint(map[string]string{"busy": id, "theirs": "an operator"}); got != want {
		t.Errorf("afterwards, cordoned are %s, want %s", got, want)
	}
	op := a.entry.Operation()
	if len(op.Waiting) != 1 || op.Waiting[0].Machine != "busy" || !slices.Equal(op.Waiting[0].Jobs, []pai.JobRef{train}) || op.Waiting[0].Since.IsZero() {
		t.Errorf("recorded as waiting: %+v", op.Waiting)
	}
	if !op.CordonedBy("busy") || !op.CordonedBy("idle") {
		t.Errorf("recorded as cordoned: %+v", op.Cordoned)
	}
}

// TestAdmissionFailsClosed: a machine is not touched when new jobs could not
// be kept off it, or when one came just before they were.
func TestAdmissionFailsClosed(t *testing.T) {
	t.Parallel()
	lost := &field{by: map[string]string{}, lost: errors.New("connection refused")}
	if err := newTestAdmission(t, lost).check(t.Context(), kubeletOf("idle")); pai.CodeOf(err) != pai.CodeRefused || err == nil || !strings.Contains(err.Error(), "cannot cordon machine idle: connection refused") {
		t.Errorf("without the API: %v", err)
	}
	late := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{}}
	late.onAny = func(machine string) { late.jobs[machine] = []pai.JobRef{train} }
	if err := newTestAdmission(t, late).check(t.Context(), kubeletOf("idle")); pai.CodeOf(err) != pai.CodeWaiting || err == nil {
		t.Errorf("a job came just before the cordon: %v, want it waited for", err)
	}
}

// TestAdmissionEvicts only where that was accepted, after new jobs are kept off.
func TestAdmissionEvicts(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{"a": {train}, "b": {train}}}
	a := newTestAdmission(t, f, guard.AcceptEvict("a"))
	if err := a.check(t.Context(), kubeletOf("a")); err != nil {
		t.Errorf("accepted: %v", err)
	}
	if err := a.check(t.Context(), kubeletOf("b")); err == nil || pai.CodeOf(err) != pai.CodeWaiting {
		t.Errorf("not accepted: %v", err)
	}
	if got := strings.Join(f.log, ", "); got != "cordon a, evict a" {
		t.Errorf("did: %s", got)
	}
	ended := pai.Interruption{Job: train.String()}
	if !a.accepted(nil, ended) || a.accepted(nil, pai.Interruption{Job: "bob~other"}) || newTestAdmission(t, f).accepted(nil, ended) {
		t.Error("the end of the evicted job, and of no other, was accepted")
	}
	if goesOn := (&admission{entry: a.entry}); !goesOn.accepted(nil, ended) {
		t.Error("a run that goes on with the operation takes the end of the evicted job for somebody else's doing")
	}
}

// A step that ends jobs by itself needs nobody to do it before, and their end
// is accepted all the same.
func TestAdmissionOfAnEnd(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{"a": {train}}}
	a := newTestAdmission(t, f, guard.AcceptEvict("a"))
	if err := a.check(t.Context(), plan.Step{ID: "clean/machine/a", Kind: plan.KindClean, Target: "a"}); err != nil || len(f.log) != 0 {
		t.Errorf("did %q, error %v", f.log, err)
	}
	if goesOn := (&admission{entry: a.entry}); !goesOn.accepted(nil, pai.Interruption{Job: train.String()}) || goesOn.accepted(nil, pai.Interruption{Job: "bob~other"}) {
		t.Error("the end of the job that was given up, and of no other, was accepted")
	}
}

func TestWaiter(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{"a": {train}, "b": {train}}}
	var lines []string
	w := waiter{steps: []plan.Step{kubeletOf("a"), kubeletOf("b")}, decide: f.decide(), every: time.Millisecond,
		end: time.Now().Add(time.Minute), noticef: func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }}
	asked := 0
	w.decide = func(ctx context.Context, s plan.Step) guard.Decision {
		if asked++; asked == 10 {
			delete(f.jobs, "b")
		}
		return f.decide()(ctx, s)
	}
	if err := w.await(t.Context()); err != nil || len(lines) != 2 || !strings.Contains(lines[0], "a waits for ada~train; b waits for ada~train") || !strings.Contains(lines[1], "b no longer waits") {
		t.Errorf("lines %q, error %v", lines, err)
	}
	f.jobs = map[string][]pai.JobRef{"a": {train}, "b": {train}}
	w.decide, w.end = f.decide(), time.Now().Add(20*time.Millisecond)
	if err := w.await(t.Context()); err == nil || pai.CodeOf(err) != pai.CodeWaiting || !strings.Contains(err.Error(), "ada~train") {
		t.Errorf("after the deadline: %v", err)
	}
	stop := make(chan struct{})
	close(stop)
	w.stop, w.end = stop, time.Now().Add(time.Minute)
	w.every = time.Minute
	if err := w.await(t.Context()); pai.CodeOf(err) != pai.CodeInterrupted {
		t.Errorf("asked to stop: %v", err)
	}
}

// TestStepsOf: a plan that is made anew knows less than the journal: what is
// not planned any more was done.
func TestStepsOf(t *testing.T) {
	t.Parallel()
	recorded := []pai.StepRecord{{ID: "a", Outcome: pai.OutcomeSucceeded, Seconds: 2}, {ID: "b", Outcome: pai.OutcomeRunning}, {ID: "c", Outcome: pai.OutcomePending}}
	got := map[string]pai.Outcome{}
	for _, s := range plannedSteps(recorded, plan.Plan{Steps: []plan.Step{{ID: "c"}, {ID: "d"}}}) {
		got[s.ID] = s.Outcome
	}
	want := map[string]pai.Outcome{"a": pai.OutcomeSucceeded, "b": pai.OutcomeSkipped, "c": pai.OutcomePending, "d": pai.OutcomePending}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestStateOf: an operation whose holder has died is not under way.
func TestStateOf(t *testing.T) {
	t.Parallel()
	op := pai.Operation{ID: "x", Outcome: pai.OutcomeRunning}
	for health, want := range map[string]string{"alive": StateUnderWay, "": StateUnderWay, "dead": StateUnfinished} {
		if got := stateOf(op, &LockState{Health: health}); got != want {
			t.Errorf("lock %q: %s, want %s", health, got, want)
		}
	}
	if got := stateOf(op, nil); got != StateUnfinished {
		t.Errorf("nobody holds the lock: %s", got)
	}
}

func TestWaitingStep(t *testing.T) {
	t.Parallel()
	const id = "kubernetes/v2/machine/gpu-01/"
	for _, c := range []struct {
		name   string
		of     pai.Waiting
		want   plan.Step
		wantOK bool
	}{
		{"kubelet", pai.Waiting{Step: id + "kubelet", Kind: string(plan.KindKubelet), To: "v2"}, plan.Step{Kind: plan.KindKubelet, To: "v2"}, true},
		{"role", pai.Waiting{Step: "x", Kind: string(plan.KindRole), Role: "containerd", To: "v2"}, plan.Step{Kind: plan.KindRole, Role: plan.RoleRuntime, To: "v2"}, true},
		{"unknown kind", pai.Waiting{Step: "x", Kind: "machine-firmware", To: "v2"}, plan.Step{Kind: "machine-firmware", To: "v2"}, false},
		{"kubelet, entry of v0.10", pai.Waiting{Step: id + "kubelet"}, plan.Step{Kind: plan.KindKubelet, To: "v2"}, true},
		{"role, entry of v0.10", pai.Waiting{Step: id + "containerd"}, plan.Step{Kind: plan.KindRole, Role: plan.RoleRuntime, To: "v2"}, true},
		{"ID of another form", pai.Waiting{Step: "services/v2/kueue"}, plan.Step{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.of.Machine = "gpu-01"
			got, ok := waitingStep(pai.Operation{From: pai.Pair{Kubernetes: "v1"}}, c.of)
			if ok != c.wantOK {
				t.Fatalf("got %+v, %v; want %v", got, ok, c.wantOK)
			}
			if ok && (got.Kind != c.want.Kind || got.Role != c.want.Role || got.To != c.want.To || got.From != "v1" ||
				got.Target != "gpu-01" || got.Risk != pai.RiskNode || string(got.ID) != c.of.Step) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestDisown: a mark alone does not make a cordon PAI's to take back.
func TestDisown(t *testing.T) {
	t.Parallel()
	a := newTestAdmission(t, &field{by: map[string]string{}})
	if err := a.cordon(t.Context(), "ours"); err != nil {
		t.Fatal(err)
	}
	store := runtest.Dir(t.TempDir())
	journal := run.NewJournal(store)
	entry, err := journal.Begin(t.Context(), a.entry.Operation())
	if err != nil {
		t.Fatal(err)
	}
	id := entry.Operation().ID
	marked := func(by string) *plan.Node {
		return &plan.Node{Unschedulable: true, CordonedByPAI: true, CordonedBy: by}
	}
	w := plan.World{Machines: []plan.MachineState{{Name: "ours", Node: marked(id)}, {Name: "copied", Node: marked(id)},
		{Name: "invented", Node: marked("20200101T000000.000Z")}, {Name: "not an operation", Node: marked("me")}, {Name: "gone"}}}
	var lines []string
	if err := dropUnrecordedCordons(t.Context(), journal, &w, func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.Machines {
		if m.Node != nil && (m.Node.CordonedByPAI != (m.Name == "ours") || !m.Node.Unschedulable) {
			t.Errorf("%s: %+v", m.Name, m.Node)
		}
	}
	if len(lines) != 3 {
		t.Errorf("lines %q, want a line for each that stays cordoned", lines)
	}
	if err := os.WriteFile(store.At("/var/lib/pai/operations/"+id+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Machines[0].Node = marked(id)
	if err := dropUnrecordedCordons(t.Context(), journal, &w, func(string, ...any) {}); err == nil {
		t.Error("a journal that cannot be read vouches for a cordon")
	}
}
