package operation

import (
	"context"
	"errors"
	"fmt"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

// Rollback is the goal of going back to the pair from which the last upgrade
// began. A target's "only"s leave one part where it is.
func Rollback(ctx context.Context, on *session.Session, target plan.Target) (Goal, error) {
	s := newOperation(on)
	operations, err := s.History(ctx)
	if err != nil {
		return Goal{}, err
	}
	former, err := previousVersions(operations)
	if err != nil {
		return Goal{}, err
	}
	master, err := s.ControlPlane()
	if err != nil {
		return Goal{}, err
	}
	snapshots, err := cluster.Snapshots(ctx, master)
	return s.rollbackTo(former, target, snapshots), err
}

// rollbackTo is the goal of going back to a pair; snapshots names those of etcd
// that may be restored for it.
func (s *operation) rollbackTo(former pai.Pair, target plan.Target, snapshots []string) Goal {
	var to pai.Pair
	return Goal{
		op:   s,
		Verb: pai.VerbRollback,
		look: true, // what the cluster keeps of Kubernetes itself is not in the world
		Plan: func(w plan.World) (plan.Plan, error) {
			in, err := s.input(w, "")
			if err != nil {
				return plan.Plan{}, err
			}
			if w.APIReachable && in.Services[former.Services] == nil {
				if err := s.addRecorded(&in, former.Services); err != nil {
					return plan.Plan{}, err
				}
			}
			in.Snapshots = snapshots
			p, err := plan.Rollback(in, former, target)
			to = p.To
			return p, err
		},
		begin:        func() error { return s.config.SetVersions(to) },
		applies:      upgradedParts,
		consequences: s.restoreConsequences,
	}
}

// addRecorded adds the services of a release whose bundle is not here, as they
// were recorded in the cluster.
func (s *operation) addRecorded(in *plan.Input, release pai.ServicesVersion) error {
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	client, err := s.Kube(ctx)
	if err != nil {
		return err
	}
	services, err := service.Recorded(ctx, client, release)
	if err == nil && len(services) > 0 {
		in.Services[release] = services
	}
	return err
}

// previousVersions is the pair from which the last upgrade began. That is not in the
// world, so the journal is asked: of the operations that moved anything
// forward, the last one, and those right before it that went to the same pair,
// because one that failed is begun anew. A way back that went there already has
// nothing to do; one that was not finished, or took one part only, is gone on with.
func previousVersions(operations []pai.Operation) (pai.Pair, error) {
	var last, back *pai.Operation
	former := pai.Pair{}
	for i := len(operations) - 1; i >= 0; i-- {
		op := &operations[i]
		moved := op.From.Kubernetes != "" && op.From != op.To
		if op.Verb == pai.VerbRollback {
			if last != nil {
				break
			}
			if back == nil {
				back = op
			}
			continue
		}
		if !moved || !op.Verb.MovesForward() {
			continue
		}
		if last != nil && op.To != last.To {
			break
		}
		last, former = op, op.From
	}
	switch {
	case last == nil:
		return former, pai.Errorf(pai.CodeRefused, "see: paictl upgrade history", "no upgrade is recorded that could be taken back")
	case back != nil && back.Outcome == pai.OutcomeSucceeded && back.To == former:
		return former, pai.Errorf(pai.CodeRefused, "go forward with: paictl upgrade apply",
			"the last operation, %s, went back to %s already", back.ID, former)
	}
	return former, nil
}

// operateWithRollback carries a goal out. Where a step of a Kubernetes hop failed
// before its commit, it goes back by itself, because what is left would be two
// versions side by side: nothing is lost, and the upgrade can be tried again.
// It stays, and says how to go back, where going back by itself could do harm:
// when the operator stopped it, when a job was interrupted, when a step was
// refused, or when the lock was lost or could not be given back.
func (s *operation) operateWithRollback(ctx context.Context, goal Goal, o RunOptions) (pai.Operation, error) {
	op, err := s.operateOnce(ctx, goal, o)
	if err == nil || goal.Verb != pai.VerbUpgrade || op.Outcome == pai.OutcomeWaiting || op.ID == "" {
		return op, err
	}
	look, cancel := cleanupContext(ctx)
	w, looked := s.observe(look)
	cancel()
	if looked == nil && !plan.BetweenVersions(w) {
		return op, err
	}
	if why := reasonNotToRollBack(ctx, op, o, err, looked); why != "" {
		o.Notice("Kubernetes stays between two versions, %s; run the command again to go on, or go back with: paictl upgrade rollback", why)
		return op, err
	}
	former := pai.Pair{Services: w.Current.Services, Kubernetes: w.Current.Kubernetes}
	if former.Services == "" {
		former.Services = op.From.Services
	}
	o.Notice("a step failed before the hop was committed; going back to Kubernetes %s", former.Kubernetes)
	if _, back := s.operateOnce(ctx, s.rollbackTo(former, plan.Target{KubernetesOnly: true}, nil), o); back != nil {
		return op, pai.Errorf(pai.CodeOf(err), "mend what failed, then go on with paictl upgrade apply, or go back with: paictl upgrade rollback",
			"%w; going back failed as well: %w", err, back)
	}
	return op, pai.Errorf(pai.CodeOf(err), "mend what failed, and run the same command again",
		"%w; Kubernetes went back to %s, and nothing was lost", err, former.Kubernetes)
}

// stays is why an upgrade that failed with an error does not go back by itself;
// empty when it does. looked is why what runs could not be looked at.
func reasonNotToRollBack(ctx context.Context, op pai.Operation, o RunOptions, err, looked error) string {
	asked := false
	select {
	case <-o.SafeStop:
		asked = true
	default:
	}
	failed := false
	for _, step := range op.Steps {
		failed = failed || step.Outcome == pai.OutcomeFailed
	}
	switch {
	case ctx.Err() != nil, asked:
		return "because it was stopped"
	case errors.Is(err, run.ErrNotReleased):
		return "because its lock could not be given back"
	case looked != nil:
		return fmt.Sprintf("because what runs could not be looked at: %v", looked)
	case len(op.Jobs.Interrupted) > 0:
		return "because a running job was interrupted"
	case op.Outcome != pai.OutcomeFailed || !failed:
		return "because it was stopped at a safe point"
	}
	return ""
}
