package plan

import "pai.dev/pai/internal/pai"

// BlocksWhenWaiting reports whether a step that was left waiting, because its machine has
// to be idle first, holds up one that comes after it.
//
// What the same machine still needs waits with it. Everything else goes on: a
// kubelet may be older than the control plane. How much older is the planner's
// to say: an API server is made to wait for what it could not serve, and only
// for that.
func BlocksWhenWaiting(waiting, next Step) bool {
	return waiting.Target == next.Target || next.Kind.Traits().StartsAPIServer
}

// Uncordon plans the steps that take back every cordon of PAI's own.
func Uncordon(w World) []Step {
	var steps []Step
	for _, m := range w.Machines {
		if m.Node != nil && m.Node.CordonedByPAI {
			steps = append(steps, Step{ID: StepID("uncordon/machine/" + m.Name), Kind: KindUncordon, Target: m.Name, Phase: "uncordon", Risk: pai.RiskNone})
		}
	}
	return steps
}
