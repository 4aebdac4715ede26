package pai

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func largeOperation(jobs, ends, machines int) Operation {
	op := Operation{ID: "20260102T030400.000Z", Verb: VerbUpgrade, By: "ann@desk", Outcome: OutcomeFailed, Error: "ssh: secret",
		Started: time.Unix(1, 0).UTC(), Ended: time.Unix(2, 0).UTC(), Steps: []StepRecord{{ID: "a", Error: "secret"}}, AcceptedRisks: []string{"secret"}}
	for i := range jobs {
		l := JobLine{Job: fmt.Sprintf("ann~job-%d", i), ContainersBefore: 2, ContainersAfter: 2}
		if i == jobs-1 {
			l.ContainersAfter = 1
		}
		for m := range machines {
			l.Machines, l.Steps = append(l.Machines, fmt.Sprintf("gpu-%05d", m)), append(l.Steps, fmt.Sprintf("kubernetes/v0.10-pai/machine/gpu-%05d/kubelet", m))
		}
		op.PerJob = append(op.PerJob, l)
	}
	op.Restored = &Restore{Unknown: "secret"}
	for i := range jobs + ends {
		op.Restored.Jobs = append(op.Restored.Jobs, RestoredJob{Job: fmt.Sprintf("ann~job-%d", i), Record: RecordLost, RunsAgain: "secret", Ran: []RanContainer{{Pod: "secret"}}})
	}
	for i := range ends {
		op.Jobs.Failed = append(op.Jobs.Failed, ContainerEnd{Job: fmt.Sprintf("ann~job-%d", i), Cause: strings.Repeat("x", 100)})
	}
	return op
}

func TestPublishedReport(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		op    Operation
		whole bool
	}{
		"small":         {largeOperation(3, 2, 2), true},
		"many jobs":     {largeOperation(20_000, 10, 1), false},
		"many ends":     {largeOperation(10, 10_000, 1), false},
		"many machines": {largeOperation(2, 1, 10_000), false},
	} {
		data, err := c.op.Published().Encode(MaxReport)
		if err != nil || len(data) > MaxReport || (!c.whole && len(data) < MaxReport/8) {
			t.Errorf("%s: got %d bytes, %v", name, len(data), err)
		}
		var got PublishedReport
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		omitted := got.Omitted
		if len(got.Restored.Jobs)+omitted["restored"] != len(c.op.Restored.Jobs) {
			t.Errorf("%s: got %d restored jobs, and omitted %v", name, len(got.Restored.Jobs), omitted)
		}
		if len(got.PerJob)+omitted["perJob"] != len(c.op.PerJob) || len(got.Jobs.Failed)+omitted["jobs.failed"] != len(c.op.Jobs.Failed) || (omitted == nil) != c.whole {
			t.Errorf("%s: got %d and %d entries, and omitted %v", name, len(got.PerJob), len(got.Jobs.Failed), omitted)
		}
		if !c.whole && got.PerJob[0].ContainersAfter != 1 {
			t.Errorf("%s: got %+v first, want the job with an ended container", name, got.PerJob[0].Job)
		}
		if strings.Contains(string(data), "secret") || strings.Contains(string(data), "ann@desk") {
			t.Errorf("%s: the report has what only operators can know", name)
		}
	}
	if _, err := largeOperation(1, 1, 1).Published().Encode(100); err == nil {
		t.Error("got no error for a report that is too large without its lists")
	}
	op := largeOperation(20, 20, 20)
	if _, err := op.Published().Encode(2_000); err != nil || len(op.PerJob) != 20 || len(op.PerJob[0].Machines) != 20 || op.PerJob[19].ContainersAfter != 1 {
		t.Errorf("got %v, and a changed operation", err)
	}
	if got := ReportName(op.ID); got != "report-20260102t030400.000z" {
		t.Errorf("got name %s", got)
	}
}
