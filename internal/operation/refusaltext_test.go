package operation

import (
	"context"
	"errors"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// neverDone is the doer of steps that are still to do.
type neverDone struct{}

func (neverDone) Done(context.Context, plan.Step) (bool, error) { return false, nil }

func (neverDone) Do(context.Context, plan.Step) error { return errors.New("started") }

// The run names the step once, and the record of the step holds only the reason.
func TestRefusalNamesTheStepOnce(t *testing.T) {
	t.Parallel()
	const step = "step kubernetes/v2/machine/m/kubelet "
	for _, c := range []struct {
		name         string
		f            field
		reason, text string
	}{
		{"wait", field{by: map[string]string{}, jobs: map[string][]pai.JobRef{"m": {train}}},
			"busy; jobs it can affect: ada~train",
			"waiting for running jobs, all other steps are done: " + step + "must wait: busy; jobs it can affect: ada~train"},
		{"refusal", field{by: map[string]string{}, lost: errors.New("connection refused")},
			"cannot cordon machine m: connection refused",
			step + "refused: cannot cordon machine m: connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			executor := run.Executor{Doers: plan.Doers{plan.KindKubelet: neverDone{}}, Deadlines: run.DefaultDeadlines, Admit: newTestAdmission(t, &c.f).check}
			result := executor.Run(t.Context(), plan.Plan{Steps: []plan.Step{kubeletOf("m")}})
			if got := result.Steps[0].Error; got != c.reason {
				t.Errorf("got recorded reason %q, want %q", got, c.reason)
			}
			if err := result.Err(); err == nil || err.Error() != c.text {
				t.Errorf("got error %v, want %s", err, c.text)
			}
		})
	}
}
