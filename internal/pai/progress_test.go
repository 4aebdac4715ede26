package pai

import (
	"encoding/json"
	"strings"
	"testing"
)

// What users read of an operation that runs has no error of a step, and shows what runs
// also where there are thousands of steps.
func TestPublishedProgress(t *testing.T) {
	t.Parallel()
	o := Operation{ID: "1", Verb: VerbUpgrade, By: "ada@host", Error: "a secret", Outcome: OutcomeRunning, AcceptedRisks: []string{"x"}}
	for range 3000 {
		o.Steps = append(o.Steps, StepRecord{ID: "done", Outcome: OutcomeSucceeded, Error: "a secret", Details: "a secret", Next: "a secret"})
	}
	o.Steps = append(o.Steps, StepRecord{ID: "runs", Outcome: OutcomeRunning}, StepRecord{ID: "left", Outcome: OutcomePending})
	p := o.Progress()
	if p.Total != 3002 || p.Done != 3000 || len(p.Steps) != maxProgressSteps || p.Steps[0].ID != "runs" || p.Steps[1].ID != "left" {
		t.Errorf("got %d of %d done, and %d steps that begin with %+v", p.Done, p.Total, len(p.Steps), p.Steps[:2])
	}
	data, err := json.Marshal(p)
	if err != nil || strings.Contains(string(data), "secret") || strings.Contains(string(data), "ada@host") {
		t.Errorf("got %v, or users read what is for operators", err)
	}
	if len(data) > MaxReport {
		t.Errorf("got %d bytes, more than %d", len(data), MaxReport)
	}
}
