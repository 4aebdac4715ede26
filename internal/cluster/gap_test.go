package cluster

import (
	"context"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Only the replacement of a running container runtime or kubelet is a gap.
func TestRoleStepReportsItsGap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		role plan.Role
		from pai.AnyVersion
		want bool
	}{{plan.RoleRuntime, "v0.9-pai", true}, {plan.RoleRuntime, "", false}, {plan.RoleScheduler, "v0.9-pai", false}} {
		c := scripted(t)
		h := c.hosts["pai-1"]
		h.Write(layout.Program(comparedVersion, "ctr"), "#!/bin/sh\nsleep 0.1\n")
		c.start(h, test.role, 150, "0123")
		gaps := map[string]time.Duration{}
		c.deps.Gap = func(_ context.Context, machine string, d time.Duration) { gaps[machine] += d }
		// The programs of the test have no digests of a bundle, so only Do counts.
		step := plan.Step{Kind: plan.KindRole, Role: test.role, Target: "pai-1", From: test.from, To: pai.AnyVersion(comparedVersion)}
		if err := Doers(c.deps)[step.Kind].Do(t.Context(), step); err != nil {
			t.Fatalf("%s: %v", test.role, err)
		}
		if d := gaps["pai-1"]; (d > 0) != test.want || test.want && d < 100*time.Millisecond || len(gaps) > 1 {
			t.Errorf("%s from %q: got the gaps %v, want one: %v", test.role, test.from, gaps, test.want)
		}
	}
}
