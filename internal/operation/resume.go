package operation

import (
	"context"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

func targetOf(t plan.Target) pai.Target {
	to := pai.Target{Release: t.Release}
	switch {
	case t.KubernetesOnly && !t.ServicesOnly:
		to.Part = pai.PartKubernetes
	case t.ServicesOnly && !t.KubernetesOnly:
		to.Part = pai.PartServices
	}
	return to
}

func planTarget(t pai.Target) plan.Target {
	return plan.Target{Release: t.Release, KubernetesOnly: t.Part == pai.PartKubernetes, ServicesOnly: t.Part == pai.PartServices}
}

// Unfinished is the upgrade that was left before it reached its goal, and that
// nothing has taken the place of since; nil where there is none.
func Unfinished(ctx context.Context, on *session.Session) (*pai.Operation, error) {
	s := newOperation(on)
	last, err := s.lastUpgrade(ctx)
	if err != nil || last == nil || !last.Unfinished() {
		return nil, err
	}
	return last, nil
}

// lastUpgrade is the newest upgrade that nothing has closed since.
func (s *operation) lastUpgrade(ctx context.Context) (*pai.Operation, error) {
	master, err := s.ControlPlane()
	if err != nil {
		return nil, err
	}
	return lastUpgrade(ctx, run.NewJournal(master))
}

func lastUpgrade(ctx context.Context, journal *run.Journal) (*pai.Operation, error) {
	last, abandoned, err := lastOrAbandoned(ctx, journal)
	if abandoned != nil {
		last = nil
	}
	return last, err
}

// lastOrAbandoned is the newest upgrade that nothing has closed since but being
// given up; abandoned is the operation that did that, nil where none did or
// where there was nothing left to give up.
func lastOrAbandoned(ctx context.Context, journal *run.Journal) (last, abandoned *pai.Operation, err error) {
	err = journal.Newest(ctx, func(op pai.Operation) bool {
		switch {
		case op.Verb == pai.VerbUpgrade:
			last = &op
			return true
		case op.Outcome != pai.OutcomeSucceeded:
			return false
		case op.Verb == pai.VerbAbandon:
			abandoned = &op // of several, the oldest is the one that gave it up
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

// Resumable is what Unfinished was after.
func Resumable(op pai.Operation) (plan.Target, error) {
	if op.Target.Release == "" {
		return plan.Target{}, pai.Errorf(pai.CodeRefused, "name it: paictl upgrade apply --to RELEASE",
			"operation %s does not say which release it was going to", op.ID)
	}
	return planTarget(op.Target), nil
}

// Abandon gives an unfinished upgrade up: machines that PAI cordoned take jobs
// again. Machines that waited keep the version they have, and the next upgrade
// takes them along. It is recorded also where no machine is cordoned, because
// the record is what keeps the upgrade from being gone on with.
func Abandon(on *session.Session) Goal {
	s := newOperation(on)
	return Goal{op: s, Verb: pai.VerbAbandon, Plan: abandonPlan, record: func(ctx context.Context) (bool, error) {
		left, err := Unfinished(ctx, on)
		return left != nil, err
	}}
}

func abandonPlan(w plan.World) (plan.Plan, error) {
	if !w.APIReachable {
		return plan.Plan{}, pai.Errorf(pai.CodeRefused, "see that the API answers (paictl cluster status), and run the command again",
			"which machines PAI keeps jobs off is not known: the API does not answer (%s)", w.APIError)
	}
	p := plan.Plan{Verb: pai.VerbAbandon, From: w.Current, To: w.Current, Hops: []plan.Hop{}, Steps: plan.Uncordon(w)}
	return p, p.Validate()
}

// dropUnrecordedCordons keeps what PAI may take back to what its journal knows.
func (s *operation) dropUnrecordedCordons(ctx context.Context, w *plan.World) error {
	if !slices.ContainsFunc(w.Machines, func(m plan.Machine) bool { return m.Node != nil && m.Node.CordonedByPAI }) {
		return nil
	}
	master, err := s.ControlPlane()
	if err != nil {
		return err
	}
	return dropUnrecordedCordons(ctx, run.NewJournal(master), w, s.Progressf)
}

// dropUnrecordedCordons takes those marks for PAI's off the world that no operation of the
// journal has recorded: what PAI did not cordon it does not uncordon.
func dropUnrecordedCordons(ctx context.Context, journal *run.Journal, w *plan.World, notice func(string, ...any)) error {
	for _, m := range w.Machines {
		if m.Node == nil || !m.Node.CordonedByPAI {
			continue
		}
		op, err := journal.Get(ctx, m.Node.CordonedBy)
		if err != nil && pai.CodeOf(err) != pai.CodeNotFound {
			return err
		}
		if err != nil || !op.CordonedBy(m.Name) {
			notice("%s is marked as cordoned by operation %s, which has no record of it: it stays cordoned", m.Name, m.Node.CordonedBy)
			m.Node.CordonedByPAI, m.Node.CordonedBy = false, ""
		}
	}
	return nil
}
