package plan

import "pai.dev/pai/internal/pai"

// BlocksWhenWaiting reports whether a step that waits for an idle machine also
// blocks the later step next.
//
// All later steps of the same machine wait. Other steps continue, because a
// kubelet can be older than the control plane. The planner limits the age: an API
// server waits for the roles that it could not serve, and only for them. A restore is
// done when every machine is admitted.
func BlocksWhenWaiting(waiting, next Step) bool {
	return waiting.Target == next.Target || next.StartsAPIServer() || next.Kind == KindOpen
}

// Uncordon plans the steps that remove every PAI cordon.
func Uncordon(w World) []Step {
	var steps []Step
	for _, m := range w.Machines {
		if m.Node != nil && m.Node.CordonedByPAI {
			steps = append(steps, Step{ID: StepID("uncordon/machine/" + m.Name), Kind: KindUncordon, Target: m.Name, Phase: "uncordon", Risk: pai.RiskNone})
		}
	}
	return steps
}
