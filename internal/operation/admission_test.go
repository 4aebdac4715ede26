package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// field is a cluster whose machines have jobs and are cordoned.
type field struct {
	by    map[string]string // machine → the one that cordoned it
	jobs  map[string][]pai.JobRef
	lost  error // an API outage
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

// decide is a guard for machines that cannot be upgraded in place.
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

// One machine is busy, one idle, one idle and cordoned by an operator. None can
// be upgraded in place.
func TestAdmission(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{"theirs": "an operator"}, jobs: map[string][]pai.JobRef{"busy": {train}}}
	a := newTestAdmission(t, f)
	ctx := t.Context()
	p := plan.Plan{Steps: []plan.Step{kubeletOf("busy"), kubeletOf("idle"), kubeletOf("theirs")}}
	outcomes := map[string]pai.Outcome{}
	for _, s := range p.Steps {
		outcomes[s.Target] = pai.OutcomeSucceeded
		if _, err := a.check(ctx, s); pai.CodeOf(err) == pai.CodeWaiting && err != nil {
			outcomes[s.Target] = pai.OutcomeWaiting
		} else if err != nil {
			t.Errorf("%s: %v", s.ID, err)
		}
	}
	id := a.entry.Operation().ID
	if got, want := fmt.Sprint(f.by), fmt.Sprint(map[string]string{"idle": id, "theirs": "an operator"}); got != want {
		t.Errorf("while steps run: got cordons %s, want %s", got, want)
	}
	if err := a.finalizeCordons(ctx, p, resultOf(p, func(s plan.Step) pai.Outcome { return outcomes[s.Target] })); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(f.by), fmt.Sprint(map[string]string{"busy": id, "theirs": "an operator"}); got != want {
		t.Errorf("at the end: got cordons %s, want %s", got, want)
	}
	op := a.entry.Operation()
	if len(op.Waiting) != 1 || op.Waiting[0].Machine != "busy" || !slices.Equal(op.Waiting[0].Jobs, []pai.JobRef{train}) || op.Waiting[0].Since.IsZero() {
		t.Errorf("got recorded as waiting %+v", op.Waiting)
	}
	if !op.CordonedBy("busy") || !op.CordonedBy("idle") {
		t.Errorf("got recorded as cordoned %+v", op.Cordoned)
	}
}

// A machine is not changed if it cannot be cordoned, or if a job started before.
func TestAdmissionFailsClosed(t *testing.T) {
	t.Parallel()
	lost := &field{by: map[string]string{}, lost: errors.New("connection refused")}
	if _, err := newTestAdmission(t, lost).check(t.Context(), kubeletOf("idle")); pai.CodeOf(err) != pai.CodeRefused || err == nil || !strings.Contains(err.Error(), "cannot cordon machine idle: connection refused") {
		t.Errorf("API outage: got %v", err)
	}
	late := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{}}
	late.onAny = func(machine string) { late.jobs[machine] = []pai.JobRef{train} }
	if _, err := newTestAdmission(t, late).check(t.Context(), kubeletOf("idle")); pai.CodeOf(err) != pai.CodeWaiting || err == nil {
		t.Errorf("job that started before the cordon: got %v, want a wait", err)
	}
}

// Jobs are evicted only if that was accepted, and after the machine is cordoned.
func TestAdmissionEvicts(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{"a": {train}, "b": {train}}}
	a := newTestAdmission(t, f, guard.AcceptEvict("a"))
	if _, err := a.check(t.Context(), kubeletOf("a")); err != nil {
		t.Errorf("accepted: got %v", err)
	}
	if _, err := a.check(t.Context(), kubeletOf("b")); err == nil || pai.CodeOf(err) != pai.CodeWaiting {
		t.Errorf("not accepted: got %v", err)
	}
	if got := strings.Join(f.log, ", "); got != "cordon a, evict a" {
		t.Errorf("got calls %s", got)
	}
	ended := pai.ContainerEnd{Job: train.String()}
	if !a.accepted(nil, ended) || a.accepted(nil, pai.ContainerEnd{Job: "bob~other"}) || newTestAdmission(t, f).accepted(nil, ended) {
		t.Error("the end of the evicted job, and of no other, must be accepted")
	}
	if resumed := (&admission{entry: a.entry}); !resumed.accepted(nil, ended) {
		t.Error("a resumed operation does not accept the end of the evicted job")
	}
}

// A step that ends jobs itself needs no eviction, and their end is accepted.
func TestAdmissionOfStepThatEndsJobs(t *testing.T) {
	t.Parallel()
	f := &field{by: map[string]string{}, jobs: map[string][]pai.JobRef{"a": {train}}}
	a := newTestAdmission(t, f, guard.AcceptEvict("a"))
	if _, err := a.check(t.Context(), plan.Step{ID: "clean/machine/a", Kind: plan.KindClean, Target: "a"}); err != nil || len(f.log) != 0 {
		t.Errorf("got calls %q, error %v", f.log, err)
	}
	if resumed := (&admission{entry: a.entry}); !resumed.accepted(nil, pai.ContainerEnd{Job: train.String()}) || resumed.accepted(nil, pai.ContainerEnd{Job: "bob~other"}) {
		t.Error("the end of the recorded job, and of no other, must be accepted")
	}
}
