package run

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestResultOfRefusedStepKeepsItsHint(t *testing.T) {
	const hint = "wait for these jobs to end, or accept it with --accept-risk=interrupt-jobs"
	refused := pai.StepRecord{ID: "a", Outcome: pai.OutcomeRefused, Error: "pod x has no IP address", Next: hint}
	r := Result{Outcome: pai.OutcomeFailed, Steps: []pai.StepRecord{refused, refused}}
	if got := pai.NextOf(r.Err()); strings.Count(got, hint) != 1 || !strings.HasSuffix(got, "; then run the same command again to continue") {
		t.Errorf("got hint %q, want that of the step once, and how to continue", got)
	}
	r.Steps[0].Next, r.Steps[1].Next = "", ""
	if got := pai.NextOf(r.Err()); got != "remove the cause; then run the same command again to continue" {
		t.Errorf("got hint %q for a step without one", got)
	}
}
