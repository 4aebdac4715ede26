package operation

import (
	"testing"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

func TestEveryKindHasADoer(t *testing.T) {
	t.Parallel()
	doers := newOperation(&session.Session{}, nil, RunOptions{}).allDoers(cluster.Deps{}, service.Deps{})
	for _, kind := range plan.Kinds() {
		if doers[kind] == nil {
			t.Errorf("no doer for %s", kind)
		}
	}
	if len(doers) != len(plan.Kinds()) {
		t.Errorf("got %d doers, want %d, one for each kind", len(doers), len(plan.Kinds()))
	}
}
