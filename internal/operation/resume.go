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
	found, err := upgradesOf(ctx, s)
	return found.unfinished(), err
}

// upgradesOf is the result of searchUpgrade in the journal of a cluster.
func upgradesOf(ctx context.Context, s *session.Session) (upgradeSearch, error) {
	journal, err := s.Journal()
	if err != nil {
		return upgradeSearch{}, err
	}
	return searchUpgrade(ctx, journal)
}

// lastUpgrade is the newest upgrade that no later operation superseded or abandoned.
func lastUpgrade(ctx context.Context, journal *run.Journal) (*pai.Operation, error) {
	s, err := searchUpgrade(ctx, journal)
	if s.abandons() != nil {
		return nil, err
	}
	return s.last, err
}

func searchUpgrade(ctx context.Context, journal *run.Journal) (s upgradeSearch, err error) {
	err = journal.Newest(ctx, s.add)
	return s, err
}

// unfinished is the upgrade that can be resumed; nil if there is none.
func (s *upgradeSearch) unfinished() *pai.Operation {
	if s.last == nil || !s.last.Unfinished() || s.abandoned != nil {
		return nil
	}
	return s.last
}

// abandons is the operation that abandoned the last upgrade; nil if there is none, or if
// there was nothing left to abandon.
func (s *upgradeSearch) abandons() *pai.Operation {
	if s.last == nil || !s.last.Unfinished() {
		return nil
	}
	return s.abandoned
}

// upgradeSearch finds the newest upgrade that no later operation superseded.
type upgradeSearch struct {
	last, abandoned, superseding *pai.Operation
	// rollback is the newest unfinished rollback after the upgrade, unless a later operation
	// superseded or abandoned it. An upgrade after it goes forward again.
	rollback *pai.Operation
}

// add takes the operations, newest first, until it returns true.
func (s *upgradeSearch) add(op pai.Operation) bool {
	switch {
	case op.Verb == pai.VerbUpgrade:
		s.last = &op
		return true
	case op.Outcome != pai.OutcomeSucceeded:
		if op.Verb == pai.VerbRollback && s.rollback == nil && s.abandoned == nil {
			s.rollback = &op
		}
		return false
	case op.Verb == pai.VerbAbandon:
		s.abandoned = &op // the oldest of several is the one that abandoned it
		return false
	case op.Verb.SupersedesUpgrade():
		s.superseding = &op
		return true
	default:
		return false
	}
}

// found are the operations that the result depends on.
func (s *upgradeSearch) found() []*pai.Operation {
	return []*pai.Operation{s.last, s.abandoned, s.superseding, s.rollback}
}

// Resumable is the target of an unfinished upgrade.
func Resumable(op pai.Operation) (plan.Target, error) {
	if op.Target.Release == "" {
		return plan.Target{}, pai.Errorf(pai.CodeRefused, "name the release; run: paictl upgrade apply --to RELEASE",
			"operation %s has no record of its target release", op.ID)
	}
	return planTarget(op.Target), nil
}

// resumes reports whether an operation to a pair of versions does again what an
// unfinished one did not complete, so that the cluster is between two states and
// only the checks for a resume can pass.
func resumes(ctx context.Context, journal *run.Journal, verb pai.Verb, to pai.Pair) (bool, error) {
	s := resumeSearch{verb: verb, to: to}
	err := journal.Newest(ctx, s.add)
	return s.found, err
}

// resumeSearch finds the unfinished operation that one of a verb to a pair of
// versions resumes.
type resumeSearch struct {
	verb  pai.Verb
	to    pai.Pair
	found bool
	// rollback is set after an unfinished rollback: the upgrade that it undoes is
	// partly undone, whatever its outcome was.
	rollback bool
}

// add takes the operations, newest first, until it returns true.
func (s *resumeSearch) add(op pai.Operation) bool {
	partial := op.Outcome != pai.OutcomeSucceeded || s.rollback && op.Verb == pai.VerbUpgrade
	switch {
	case op.Verb.LeavesNothingPartial():
		return false
	case partial && op.Verb == s.verb && sameVersions(s.verb, op.To, s.to):
		s.found = true
		return true
	case partial && op.Verb == pai.VerbRollback:
		s.rollback = true
		return false
	default:
		return !op.Verb.ChangesServicesOnly()
	}
}
