package cluster

import (
	"testing"

	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

var _ BundleContent = (*release.Bundle)(nil)

func TestEveryMachineAndClusterKindHasADoer(t *testing.T) {
	t.Parallel()
	doers := Doers(Deps{Config: testConfig()})
	for _, kind := range plan.Kinds() {
		subject := kind.Traits().Subject
		if subject != plan.SubjectMachine && subject != plan.SubjectCluster {
			continue
		}
		if doers[kind] == nil {
			t.Errorf("kind %s has no doer", kind)
		}
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	c := &cluster{Deps: Deps{Config: testConfig()}}
	for name, s := range map[string]plan.Step{
		"unknown":     {Target: "pai-9"},
		"unreachable": {Target: "pai-2"},
		"no host":     {},
	} {
		if h, _, err := c.target(s); err == nil {
			t.Errorf("%s: a machine was found: %v", name, h)
		}
	}
}
