package operation

import (
	"context"
	"time"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

// recordedTimeout bounds how long the API can take to list recorded services.
const recordedTimeout = 30 * time.Second

// Rollback is the goal to return to the versions that the last upgrade started
// from. A target for one part leaves the other part as it is.
func Rollback(ctx context.Context, s *session.Session, target plan.Target) (Goal, error) {
	journal, err := s.Journal()
	if err != nil {
		return nil, err
	}
	var search rollbackSearch
	if err := journal.Newest(ctx, search.add); err != nil {
		return nil, err
	}
	previous, err := search.versions()
	if err != nil {
		return nil, err
	}
	host, err := s.ControlPlane()
	if err != nil {
		return nil, err
	}
	snapshots, err := cluster.Snapshots(ctx, host)
	return rollback{to: previous, target: target, snapshots: snapshots, release: servicesRelease(s.Releases, previous.Services)}, err
}

type rollback struct {
	repeatsSteps // what the cluster stores of Kubernetes itself is not in World
	to           pai.Pair
	target       plan.Target
	snapshots    []string // of etcd, which can be restored
	// release has the services that the rollback applies; empty if it applies none.
	release pai.Release
}

// servicesRelease is the release that carries a version of the services; empty for
// an unknown one, which planning refuses.
func servicesRelease(releases []release.Manifest, services pai.ServicesVersion) pai.Release {
	for _, m := range releases {
		if m.Services.Version.Compare(services) == 0 {
			return m.Metadata.Name
		}
	}
	return ""
}

func (g rollback) Verb() pai.Verb                        { return pai.VerbRollback }
func (g rollback) Plan(in plan.Input) (plan.Plan, error) { return plan.Rollback(in, g.to, g.target) }
func (g rollback) Preflight() (check.Stage, pai.Release) {
	return check.Rollback, g.release
}
func (g rollback) Applies(p plan.Plan) []revision.Part { return upgradedParts(p) }
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

// rollbackSearch finds the pair that the last upgrade started from. World does
// not have it, so the journal is read: the last operation that moved forward,
// and those right before it that had the same target, because a failed upgrade
// is started again.
type rollbackSearch struct {
	last, first *pai.Operation // of those with the same target
	before      *pai.Operation // that ends the search
	rolledBack  *pai.Operation // the last rollback after them
}

// add takes the operations, newest first, until it returns true.
func (s *rollbackSearch) add(op pai.Operation) bool {
	switch {
	case op.Verb == pai.VerbRollback && s.last == nil:
		if s.rolledBack == nil {
			s.rolledBack = &op
		}
		return false
	case op.Verb == pai.VerbRollback:
		s.before = &op
		return true
	case op.From.Kubernetes == "" || op.From == op.To || !op.Verb.MovesForward():
		return false
	case s.last != nil && op.To != s.last.To:
		s.before = &op
		return true
	}
	if s.last == nil {
		s.last = &op
	}
	s.first = &op
	return false
}

// found are the operations that the result depends on.
func (s *rollbackSearch) found() []*pai.Operation {
	return []*pai.Operation{s.last, s.first, s.before, s.rolledBack}
}

// versions is the pair. A finished rollback to that pair leaves nothing to do.
// An unfinished rollback, or one of a single part, continues.
func (s *rollbackSearch) versions() (pai.Pair, error) {
	switch {
	case s.last == nil:
		return pai.Pair{}, pai.Errorf(pai.CodeRefused, "list the operations; run: paictl upgrade history", "the journal has no upgrade that can be rolled back")
	case s.rolledBack != nil && s.rolledBack.Outcome == pai.OutcomeSucceeded && s.rolledBack.To == s.first.From:
		return s.first.From, pai.Errorf(pai.CodeRefused, "to upgrade again, run: paictl upgrade apply",
			"the last operation, %s, already rolled back to %s", s.rolledBack.ID, s.first.From)
	}
	return s.first.From, nil
}
