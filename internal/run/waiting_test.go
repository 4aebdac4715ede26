package run

import (
	"context"
	"errors"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// A step that waits for an idle machine blocks the other steps of its machine,
// and an API server that could not serve it; everything else is done.
func TestExecutorWaitingStepBlocksOnlyDependents(t *testing.T) {
	t.Parallel()
	busy := pai.Errorf(pai.CodeWaiting, "", "job ada~train runs there")
	step := func(id plan.StepID, target string, after ...plan.StepID) plan.Step {
		return plan.Step{ID: id, Kind: testKind, Target: target, Risk: pai.RiskNone, After: after}
	}
	p := plan.Plan{Steps: []plan.Step{
		step("kubelet", "gpu-01"),
		step("proxy", "gpu-01", "kubelet"),
		step("uncordon", "gpu-01", "kubelet", "proxy"),
		step("other", "gpu-02", "kubelet"),
		step("record", "", "kubelet", "proxy", "uncordon", "other"),
		step("service", "kueue", "record"),
		{ID: "next", Kind: plan.KindAPIServer, Risk: pai.RiskNone, After: []plan.StepID{"record", "kubelet"}},
		step("after-next", "", "next"),
	}}
	for _, c := range []struct {
		name    string
		refuses map[plan.StepID]error
		want    string
		code    pai.Code
		says    string
	}{
		{"one waits", map[plan.StepID]error{"kubelet": busy},
			"kubelet:waiting proxy:waiting uncordon:waiting other:succeeded record:succeeded service:succeeded next:waiting after-next:waiting",
			pai.CodeWaiting, "waiting for running jobs, all other steps are done: step kubelet must wait: job ada~train runs there"},
		{"one waits, another is refused", map[plan.StepID]error{"kubelet": busy, "other": pai.Errorf(pai.CodeRefused, "", "veto")},
			"kubelet:waiting proxy:waiting uncordon:waiting other:refused record:blocked service:blocked next:blocked after-next:blocked",
			pai.CodeRefused, "step other refused: veto; step kubelet must wait: job ada~train runs there; 4 dependent steps were not started"},
		{"one is refused", map[plan.StepID]error{"kubelet": errors.New("not known")},
			"kubelet:refused proxy:blocked uncordon:blocked other:blocked record:blocked service:blocked next:blocked after-next:blocked",
			pai.CodeRefused, "step kubelet refused: not known; 7 dependent steps were not started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			e := executor(w)
			e.Doers[plan.KindAPIServer] = w
			e.Admit = func(_ context.Context, s plan.Step) ([]pai.JobRef, error) { return nil, c.refuses[s.ID] }
			res := e.Run(context.Background(), p)
			if got := outcomes(res); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			err := res.Err()
			if pai.CodeOf(err) != c.code || err.Error() != c.says {
				t.Errorf("got error %v (%s), want %s (%s)", err, pai.CodeOf(err), c.says, c.code)
			}
			for _, s := range res.Steps {
				if held := s.Outcome == pai.OutcomeBlocked || (s.Outcome == pai.OutcomeWaiting && s.ID != "kubelet"); held != (len(res.Blocked[plan.StepID(s.ID)]) > 0) {
					t.Errorf("%s is %s, blocked by %v", s.ID, s.Outcome, res.Blocked[plan.StepID(s.ID)])
				}
			}
		})
	}
}
