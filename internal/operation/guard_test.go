package operation

import (
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// During an API outage the jobs of a service are unknown, and the steps before
// the service might restore the API.
func TestDecidedEarly(t *testing.T) {
	service, evicts := plan.Step{Kind: plan.KindService, Risk: pai.RiskDataPath}, plan.Step{Kind: plan.KindKubelet, Risk: pai.RiskEviction}
	for _, c := range []struct {
		name string
		step plan.Step
		api  bool
		want bool
	}{
		{"service", service, true, true},
		{"service during an outage", service, false, false},
		{"eviction", evicts, true, true},
		{"eviction during an outage", evicts, false, true},
		{"step in place", plan.Step{Kind: plan.KindKubelet, Risk: pai.RiskNode}, true, false},
	} {
		if got := decidedEarly(c.step, plan.World{APIReachable: c.api}); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
