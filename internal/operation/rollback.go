package operation

import (
	"context"
	"slices"
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
	searches := newRollbackSearches()
	if err := journal.Newest(ctx, searches.add); err != nil {
		return nil, err
	}
	previous, err := searches.of(target).versions()
	if err != nil {
		if _, other := searches.of(plan.Target{KubernetesOnly: true}).versions(); other == nil {
			err = pai.Errorf(pai.CodeRefused, "to roll back Kubernetes as well, run: paictl upgrade rollback --kubernetes", "%w", err)
		}
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
	within       string   // the operation that rolls back by itself; empty for a command
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
func (g rollback) Target() pai.UpgradeTarget             { return recordedTarget(g.target) }
func (g rollback) Plan(in plan.Input) (plan.Plan, error) { return plan.Rollback(in, g.to, g.target) }
func (g rollback) Preflight() (check.Stage, pai.Release) {
	return check.Rollback, g.release
}
func (g rollback) Applies(p plan.Plan) []revision.Part { return upgradedParts(p) }
func (g rollback) Reconfigure(c *configsync.Step, p plan.Plan) error {
	return c.SetVersions(p.To)
}

// MustRecord reports whether an unfinished rollback of these parts is left, or an unfinished
// upgrade. Without a record, that upgrade would be resumed, also if it changed nothing but
// the configuration.
func (g rollback) MustRecord(ctx context.Context, s *session.Session) (bool, error) {
	found, err := upgradesOf(ctx, s)
	back := found.rollback
	return back != nil && includes(g.Target(), back.Target) || found.unfinished() != nil && g.Target().Part == "", err
}

// includes reports whether a target has the parts of another one.
func includes(t, other pai.UpgradeTarget) bool { return t.Part == "" || t.Part == other.Part }

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

// rollbackSearches are the searches for each target of a rollback.
type rollbackSearches struct{ both, kubernetes, services rollbackSearch }

func newRollbackSearches() *rollbackSearches {
	return &rollbackSearches{kubernetes: rollbackSearch{part: func(p pai.Pair) pai.Pair { return pai.Pair{Kubernetes: p.Kubernetes} }},
		services: rollbackSearch{part: func(p pai.Pair) pai.Pair { return pai.Pair{Services: p.Services} }}}
}

// add takes the operations, newest first, until it returns true.
func (s *rollbackSearches) add(op pai.Operation) bool {
	s.both.add(op)
	s.kubernetes.add(op)
	s.services.add(op)
	return s.both.ended && s.kubernetes.ended && s.services.ended
}

// of is the search for a target.
func (s *rollbackSearches) of(target plan.Target) *rollbackSearch {
	switch {
	case target.KubernetesOnly == target.ServicesOnly:
		return &s.both
	case target.KubernetesOnly:
		return &s.kubernetes
	}
	return &s.services
}

// found are the operations that the results depend on.
func (s *rollbackSearches) found() []*pai.Operation {
	return slices.Concat(s.both.found(), s.kubernetes.found(), s.services.found())
}

// rollbackSearch finds the pair that the last upgrade started from. World does
// not have it, so the journal is read: the last operation that moved forward,
// and those right before it that had the same target, because a failed upgrade
// is started again. A search for one part sees only what moved that part: after an
// upgrade of the services that was undone, Kubernetes can still be rolled back.
type rollbackSearch struct {
	part        func(pai.Pair) pai.Pair // that is rolled back; nil for both
	last, first *pai.Operation          // of those with the same target
	before      *pai.Operation          // that ends the search
	rolledBack  *pai.Operation          // the last rollback after them
	ended       bool
}

func (s *rollbackSearch) partOf(p pai.Pair) pai.Pair {
	if s.part == nil {
		return p
	}
	return s.part(p)
}

// add takes the operations, newest first.
func (s *rollbackSearch) add(op pai.Operation) {
	stays := s.partOf(op.From) == s.partOf(op.To)
	switch {
	case s.ended:
	case op.Verb == pai.VerbRollback && stays && s.part != nil: // of the other part
	case op.Verb == pai.VerbRollback && s.last == nil:
		if s.rolledBack == nil {
			s.rolledBack = &op
		}
	case op.Verb == pai.VerbRollback:
		s.before, s.ended = &op, true
	case op.From.Kubernetes == "" || stays || !op.Verb.MovesForward():
	case s.last != nil && s.partOf(op.To) != s.partOf(s.last.To):
		s.before, s.ended = &op, true
	default:
		if s.last == nil {
			s.last = &op
		}
		s.first = &op
	}
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
	case s.rolledBack != nil && s.rolledBack.Outcome == pai.OutcomeSucceeded && s.partOf(s.rolledBack.To) == s.partOf(s.first.From):
		return s.first.From, pai.Errorf(pai.CodeRefused, "to upgrade again, run: paictl upgrade apply",
			"the last operation, %s, already rolled back to %s", s.rolledBack.ID, s.first.From)
	}
	return s.first.From, nil
}
