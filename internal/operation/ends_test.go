package operation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/guard/witness"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// A step in progress is reported to the witness with its reach.
func TestWatchKnowsReachOfSteps(t *testing.T) {
	t.Parallel()
	w := &watch{reach: func(s plan.Step) guard.Reach {
		return guard.Reach{Everywhere: s.Kind == plan.KindRestore, Machine: s.Target}
	}}
	kubelet := plan.Step{ID: "k", Kind: plan.KindKubelet, Target: "gpu-01"}
	restore := plan.Step{ID: "r", Kind: plan.KindRestore}
	w.event(run.Event{Kind: run.StepStarted, Step: kubelet})
	w.event(run.Event{Kind: run.StepStarted, Step: restore})
	w.event(run.Event{Kind: run.Stopping})
	both := []witness.Step{{ID: "k", Machine: "gpu-01"}, {ID: "r", Everywhere: true}}
	if got := w.inProgress(); !slices.Equal(got, both) {
		t.Errorf("got %+v, want %+v", got, both)
	}
	w.event(run.Event{Kind: run.StepEnded, Step: kubelet})
	if got := w.inProgress(); !slices.Equal(got, both[1:]) {
		t.Errorf("got %+v, want the restore", got)
	}
}

// The error of an interruption names how to accept it.
func TestFirstInterruption(t *testing.T) {
	t.Parallel()
	if err := firstInterruption(nil); err != nil {
		t.Errorf("got %v without an interruption", err)
	}
	err := firstInterruption([]pai.ContainerEnd{{Job: "ada~train", Pod: "p", Container: "task", Machine: "gpu-01", Cause: "exit code 137", Evidence: []string{"machine gpu-01 rebooted"}}, {Job: "bob~other"}})
	if err == nil || !strings.Contains(err.Error(), "ada~train") || !strings.Contains(err.Error(), "no step") || !strings.Contains(err.Error(), "rebooted") ||
		!strings.Contains(pai.NextOf(err), "--accept-risk=interrupt-job:ada~train") {
		t.Errorf("got %v, %s", err, pai.NextOf(err))
	}
}

// While an operation runs, and after it was killed, its status has the ends that
// its witness stored.
func TestStatusHasEndsUntilNow(t *testing.T) {
	t.Parallel()
	older := runtest.Dir("../../test/older/testdata/killed/machine")
	got, err := jobsUntilNow(t.Context(), older, pai.Operation{ID: "20261126T024155.580Z", Outcome: pai.OutcomeRunning})
	if err != nil || got.Before != 1 || got.After != 1 || !got.Balanced() {
		t.Errorf("got %+v, error %v; want the running job of v0.10", got, err)
	}
	ended := pai.JobsReport{Before: 3, Finished: 3}
	for _, op := range []pai.Operation{
		{ID: "20261126T024155.580Z", Outcome: pai.OutcomeFailed, Report: pai.Report{Jobs: ended}},
		{ID: "without a baseline", Outcome: pai.OutcomeRunning, Report: pai.Report{Jobs: ended}},
	} {
		if got, err := jobsUntilNow(t.Context(), older, op); err != nil || got.Before != 3 || got.Finished != 3 {
			t.Errorf("%s: got %+v, error %v; want the report of the record", op.ID, got, err)
		}
	}
}

// The jobs that a rollback ends can be accepted by name.
func TestConsentForJobsByName(t *testing.T) {
	t.Parallel()
	c := consequences{risks: map[string]string{guard.AcceptInterrupt: "jobs would end"},
		affected: map[plan.StepID][]pai.JobRef{"restore": {{User: "ada", Name: "train"}, {User: "bob", Name: "eval"}}}}
	train, eval := guard.AcceptInterruptJob("ada~train"), guard.AcceptInterruptJob("bob~eval")
	for _, test := range []struct {
		accepted []string
		ok       bool
	}{{nil, false}, {[]string{train}, false}, {[]string{train, eval}, true}, {[]string{guard.AcceptInterrupt}, true}} {
		if err := c.requireConsent(test.accepted); (err == nil) != test.ok {
			t.Errorf("%v: got %v, want accepted %v", test.accepted, err, test.ok)
		}
	}
	c.affected = nil // which jobs end is unknown
	if err := c.requireConsent([]string{train, eval}); err == nil {
		t.Error("unknown jobs are accepted by name")
	}
}

// The reasons of the status of the witness are lists, never null.
func TestStatusOfWitnessHasLists(t *testing.T) {
	t.Parallel()
	s := (&watch{unobserved: "no API", started: time.Now()}).status()
	if s.Failed == nil || s.Interrupted == nil || s.Unknown == nil || s.Unobserved != "no API" {
		t.Errorf("got %+v", s)
	}
}
