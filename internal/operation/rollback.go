package operation

import (
	"context"
	"time"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

// recordedTimeout bounds how long the API can take to list recorded services.
const recordedTimeout = 30 * time.Second

// Rollback is the goal to return to the versions that the last upgrade started
// from. A target for one part leaves the other part as it is.
func Rollback(ctx context.Context, s *session.Session, target plan.Target) (Goal, error) {
	operations, err := s.History(ctx)
	if err != nil {
		return nil, err
	}
	previous, err := previousVersions(operations)
	if err != nil {
		return nil, err
	}
	host, err := s.ControlPlane()
	if err != nil {
		return nil, err
	}
	snapshots, err := cluster.Snapshots(ctx, host)
	return rollback{to: previous, target: target, snapshots: snapshots}, err
}

type rollback struct {
	repeatsSteps // what the cluster stores of Kubernetes itself is not in World
	to           pai.Pair
	target       plan.Target
	snapshots    []string // of etcd, which can be restored
}

func (g rollback) Verb() pai.Verb                        { return pai.VerbRollback }
func (g rollback) Plan(in plan.Input) (plan.Plan, error) { return plan.Rollback(in, g.to, g.target) }
func (g rollback) Applies(p plan.Plan) []revision.Part   { return upgradedParts(p) }
func (g rollback) Reconfigure(c *configsync.Step, p plan.Plan) error {
	return c.SetVersions(p.To)
}

// Gather adds the snapshots, and the services that the cluster recorded if this
// host has no bundle of their release.
func (g rollback) Gather(ctx context.Context, s *session.Session, in *plan.Input) error {
	in.Snapshots = g.snapshots
	if !in.World.APIReachable || in.Services[g.to.Services] != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordedTimeout)
	defer cancel()
	client, err := s.Kube(ctx)
	if err != nil {
		return err
	}
	services, err := service.Recorded(ctx, client, g.to.Services)
	if err == nil && len(services) > 0 {
		in.Services[g.to.Services] = services
	}
	return err
}

// previousVersions is the pair that the last upgrade started from. World does
// not have it, so the journal is read: the last operation that moved forward,
// and those right before it that had the same target, because a failed upgrade
// is started again. A finished rollback to that pair leaves nothing to do. An
// unfinished rollback, or one of a single part, continues.
func previousVersions(operations []pai.Operation) (pai.Pair, error) {
	var last, rolledBack *pai.Operation
	previous := pai.Pair{}
	for i := len(operations) - 1; i >= 0; i-- {
		op := &operations[i]
		if op.Verb == pai.VerbRollback {
			if last != nil {
				break
			}
			if rolledBack == nil {
				rolledBack = op
			}
			continue
		}
		if op.From.Kubernetes == "" || op.From == op.To || !op.Verb.MovesForward() {
			continue
		}
		if last != nil && op.To != last.To {
			break
		}
		last, previous = op, op.From
	}
	switch {
	case last == nil:
		return previous, pai.Errorf(pai.CodeRefused, "list the operations; run: paictl upgrade history", "the journal has no upgrade that can be rolled back")
	case rolledBack != nil && rolledBack.Outcome == pai.OutcomeSucceeded && rolledBack.To == previous:
		return previous, pai.Errorf(pai.CodeRefused, "to upgrade again, run: paictl upgrade apply",
			"the last operation, %s, already rolled back to %s", rolledBack.ID, previous)
	}
	return previous, nil
}
