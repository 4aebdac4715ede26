package operation

import (
	"testing"

	"pai.dev/pai/internal/plan"
)

// A plan that first starts a member, or gives members their votes, repairs the quorum: it must
// not be refused for what it repairs. A nil guard would panic if it were asked.
func TestQuorumIsNotAskedForBeforeItsRepair(t *testing.T) {
	t.Parallel()
	stops := plan.Step{Kind: plan.KindAPIServer, Target: "cp-1", From: "v0.11-pai", To: "v0.12-pai"}
	for name, first := range map[string]plan.Step{
		"a member starts": {Kind: plan.KindEtcd, Target: "cp-2", To: "v0.11-pai"},
		"a vote":          {Kind: plan.KindVoters},
	} {
		if err := checkQuorumEarly(t.Context(), nil, []plan.Step{first, stops}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
