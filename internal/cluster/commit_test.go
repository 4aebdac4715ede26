package cluster

import (
	"testing"

	"pai.dev/pai/internal/plan"
)

// While API servers of other machines still behave as the older minor, no controller may be
// newer than they are.
func TestCommitOfOneOfSeveralLeavesTheControllers(t *testing.T) {
	t.Parallel()
	if _, controllers := commitSteps(plan.Step{Kind: plan.KindCommit, Target: "cp-2"}); len(controllers) > 0 {
		t.Errorf("the commit of one machine has the controllers %+v", controllers)
	}
	_, controllers := commitSteps(plan.Step{Kind: plan.KindCommit})
	if len(controllers) != 2 || controllers[0].Role != plan.RoleControllerManager || controllers[1].Role != plan.RoleScheduler {
		t.Errorf("the commit of a single one has the controllers %+v", controllers)
	}
}
