package ui

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
)

// reported is an upgrade during which containers ended in every way, at a time in
// a zone.
func reported(zone *time.Location) pai.Operation {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, zone)
	one, killed, code := 1, 137, 143
	end := func(job, pod string, seconds int, exit *int, step, cause string, evidence ...string) pai.ContainerEnd {
		return pai.ContainerEnd{Job: job, VirtualCluster: "default", Pod: pod, Container: "task", Machine: "gpu-01", Time: at.Add(time.Duration(seconds) * time.Second),
			ExitCode: exit, Step: step, Cause: cause, Evidence: evidence}
	}
	op := pai.Operation{ID: "20260102T030400.000Z", Verb: pai.VerbUpgrade, By: "ann@desk", Started: at, Ended: at.Add(time.Minute), Outcome: pai.OutcomeFailed,
		Steps: []pai.StepRecord{{ID: "a", Outcome: pai.OutcomeSucceeded}}}
	op.Jobs = pai.JobsReport{Before: 7, After: 3, Finished: 1,
		Failed: []pai.ContainerEnd{
			end("ann~eval", "eval-task-0-0-x", 3, &one, "kubernetes/v0.10-pai/cluster/apiserver", "exit code 1, Error", "exit code 1, Error",
				"its pod was neither deleted nor evicted", "machine gpu-01 did not reboot",
				"no step that can end it was in progress since it was last seen alive at 03:04:07Z", "the kubelet reports no kill"),
		},
		Interrupted: []pai.ContainerEnd{
			end("ann~train", "train-task-0-0-x", 2, &code, "", "its pod was deleted (exit code 143)", "its pod was deleted before it ended"),
			end("ann~train", "train-task-0-1-x", 5, nil, "kubernetes/v0.10-pai/machine/gpu-01/kubelet", "its pod was deleted", "its pod was deleted before it ended"),
		},
		Unknown: []pai.ContainerEnd{
			end("bob~llama", "llama-task-0-0-x", 9, &killed, "services/v0.10/kueue", "exit code 137, Error", "exit code 137, Error", "no observation shows what ended it"),
		}}
	usual := 1.4
	op.PerJob = []pai.JobLine{
		{Job: "ann~train", ContainersBefore: 3, ContainersAfter: 1, Machines: []string{"gpu-01", "gpu-02"}, Steps: []string{"kubernetes/v0.10-pai/machine/gpu-01/kubelet"},
			Output: &pai.OutputPause{Pod: "train-task-0-2-x", Container: "task", LongestSeconds: 2.25, UsualSeconds: &usual, ObservedSeconds: 60}},
		{Job: "bob~new", ContainersBefore: 2, ContainersAfter: 2, Machines: []string{"gpu-02"}, OutputUnobserved: "1 of 2 containers: no connection to machine gpu-02",
			Output: &pai.OutputPause{Pod: "new-task-0-0-x", Container: "task", LongestSeconds: 0.5, ObservedSeconds: 60}},
		{Job: "bob~quiet", ContainersBefore: 1, ContainersAfter: 1, Machines: []string{"gpu-02"}, OutputUnobserved: "1 of 1 containers: its log has no line"},
		{Job: "bob~llama", ContainersBefore: 1, Machines: []string{"gpu-01"}},
	}
	return op
}

func TestReportText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := Text(&b, func(p *Page) { report(p, reported(time.Local)) }); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/report.txt", b.String())
}

func TestReportJSON(t *testing.T) {
	t.Parallel()
	op := reported(time.UTC)
	data, err := json.MarshalIndent(op.Report, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/report.json", string(data)+"\n")
	if !op.Jobs.Balanced() {
		t.Error("the numbers of jobs are not balanced")
	}
}

// A report of many jobs has lines for the first ones.
func TestReportOfManyJobs(t *testing.T) {
	t.Parallel()
	op := reported(time.UTC)
	for range 20 {
		op.PerJob = append(op.PerJob, op.PerJob[0])
	}
	var b bytes.Buffer
	if err := Text(&b, func(p *Page) { report(p, op) }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(b.String(), "\n  job "); got != 10 || !strings.Contains(b.String(), "and 14 more jobs") {
		t.Errorf("got %d lines of jobs, want 10 and the number of the others:\n%s", got, b.String())
	}
}

// An end is shown once, and again if its verdict changes.
func TestEndsAreShownOnce(t *testing.T) {
	t.Parallel()
	jobs, shown := reported(time.UTC).Jobs, endsShown{}
	status := operation.WitnessStatus{Failed: jobs.Failed, Interrupted: jobs.Interrupted, Unknown: jobs.Unknown}
	if got := shown.add(status); len(got) != 4 {
		t.Errorf("got %q, want a line for each end", got)
	}
	if got := shown.add(status); len(got) != 0 {
		t.Errorf("got %q, want none again", got)
	}
	status.Failed, status.Unknown = nil, append(status.Unknown, jobs.Failed...)
	if got := shown.add(status); len(got) != 1 {
		t.Errorf("got %q, want the end whose verdict has changed", got)
	}
}

func TestReportOfGaps(t *testing.T) {
	t.Parallel()
	op := pai.Operation{Report: pai.Report{AdmissionSeconds: 3.24}, StartSeconds: map[string]float64{"m2": 4, "m1": 2.51}}
	for name, c := range map[string]struct {
		expected *pai.Gaps
		want     []string
		not      string
	}{
		"with a plan": {&pai.Gaps{AdmissionSeconds: 10, StartSeconds: map[string]float64{"m1": 15, "m2": 10}},
			[]string{"3.2 s (expected: about 10 s)", "on m1, at most 2.5 s (expected: about 15 s)", "on m2, at most 4.0 s (expected: about 10 s)"}, "no submission"},
		"of an older paictl": {nil, []string{"3.2 s\n", "on m1, at most 2.5 s\n"}, "expected"},
		"longer than expected": {&pai.Gaps{SubmissionSeconds: 20},
			[]string{"no submission", "0.0 s (expected: about 20 s)", "on m1, at most 2.5 s (expected: about 0 s)"}, "nothing"},
	} {
		op.ExpectedGaps = c.expected
		var b strings.Builder
		if err := Text(&b, func(p *Page) { reportGaps(p, op) }); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) || strings.Contains(b.String(), c.not) {
				t.Errorf("%s: got %s, want %q, and not %q", name, b.String(), want, c.not)
			}
		}
	}
}

// The report names what stays on a machine that was removed without being cleaned.
func TestReportNamesWhatIsLeft(t *testing.T) {
	t.Parallel()
	for left, want := range map[string]bool{"what ran on gpu-03": true, "": false} {
		var b strings.Builder
		if err := Text(&b, func(p *Page) {
			report(p, pai.Operation{Verb: pai.VerbRemove, Outcome: pai.OutcomeSucceeded, Left: left})
		}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "\n  left ") != want || !strings.Contains(b.String(), left) {
			t.Errorf("left %q: got %s", left, b.String())
		}
	}
}
