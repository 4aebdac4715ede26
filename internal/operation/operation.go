package operation

import (
	"context"

	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// operation is one run of a goal on the cluster of a session.
type operation struct {
	*session.Session
	config    *configsync.Step
	refreshed refreshed
}

func newOperation(s *session.Session) *operation {
	return &operation{Session: s, config: &configsync.Step{Session: s}}
}

// Run runs a goal: observe, plan, show, guard, do, verify, record.
func Run(ctx context.Context, goal Goal, o RunOptions, wait WaitOptions) (pai.Operation, error) {
	return goal.op.operateAndWait(ctx, goal, o, wait)
}
