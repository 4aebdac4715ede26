package operation

import (
	"context"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// Unfinished is the upgrade that can be resumed; nil if there is none.
func Unfinished(ctx context.Context, s *session.Session) (*pai.Operation, error) {
	journal, err := s.Journal()
	if err != nil {
		return nil, err
	}
	last, err := lastUpgrade(ctx, journal)
	if err != nil || last == nil || !last.Unfinished() {
		return nil, err
	}
	return last, nil
}

// lastUpgrade is the newest upgrade that no later operation superseded.
func lastUpgrade(ctx context.Context, journal *run.Journal) (*pai.Operation, error) {
	last, abandoned, err := lastOrAbandoned(ctx, journal)
	if abandoned != nil {
		last = nil
	}
	return last, err
}

// lastOrAbandoned is lastUpgrade, also if the upgrade was abandoned. abandoned
// is the operation that abandoned it; nil if there is none, or if there was
// nothing left to abandon.
func lastOrAbandoned(ctx context.Context, journal *run.Journal) (last, abandoned *pai.Operation, err error) {
	err = journal.Newest(ctx, func(op pai.Operation) bool {
		switch {
		case op.Verb == pai.VerbUpgrade:
			last = &op
			return true
		case op.Outcome != pai.OutcomeSucceeded:
			return false
		case op.Verb == pai.VerbAbandon:
			abandoned = &op // the oldest of several is the one that abandoned it
			return false
		default:
			return op.Verb.SupersedesUpgrade()
		}
	})
	if err != nil || last == nil || !last.Unfinished() {
		abandoned = nil
	}
	return last, abandoned, err
}

// Resumable is the target of an unfinished upgrade.
func Resumable(op pai.Operation) (plan.Target, error) {
	if op.Target.Release == "" {
		return plan.Target{}, pai.Errorf(pai.CodeRefused, "name the release; run: paictl upgrade apply --to RELEASE",
			"operation %s has no record of its target release", op.ID)
	}
	return planTarget(op.Target), nil
}
