package operation

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
)

// whole is a goal's applies that does not depend on its plan.
func appliesAll(parts ...revision.Part) func(plan.Plan) []revision.Part {
	return func(plan.Plan) []revision.Part { return parts }
}

// appliesAllUnless is whole where nothing is named; what is done to some services
// brings the services as a whole to no revision.
func appliesAllUnless(names []string, parts ...revision.Part) func(plan.Plan) []revision.Part {
	if len(names) > 0 {
		return appliesAll()
	}
	return appliesAll(parts...)
}

// moved are the parts that a plan moves to other versions: all of such a part
// is configured anew.
func upgradedParts(p plan.Plan) []revision.Part {
	var parts []revision.Part
	if p.From.Kubernetes != p.To.Kubernetes {
		parts = append(parts, revision.Kubernetes)
	}
	if p.From.Services != p.To.Services {
		parts = append(parts, revision.Services)
	}
	return parts
}

// AppliedRevision is the revision that a plan applies.
type AppliedRevision struct {
	Number int `json:"revision"`
	// New is true where it is made of the folder when the plan is carried out.
	New bool `json:"new"`
}

func (a AppliedRevision) String() string {
	if a.New {
		return fmt.Sprintf("The configuration becomes revision %d, which this applies.", a.Number)
	}
	return fmt.Sprintf("This applies revision %d of the configuration.", a.Number)
}

// revisionToApply looks which revision a goal applies. A folder that would undo what
// somebody else pushed is refused before anything is shown.
func (s *operation) revisionToApply(ctx context.Context, goal Goal) (*AppliedRevision, error) {
	if goal.applies == nil || s.Hosts[s.Config.ControlPlane().Hostname] == nil {
		return nil, nil // without the machine nothing will be done, and the plan says why
	}
	f, err := configsync.Read(ctx, s.Session)
	if err != nil {
		return nil, err
	}
	return &AppliedRevision{Number: f.Number(), New: !f.Unchanged()}, f.CheckPush(s.Config.Dir)
}

// applyRevision makes sure that what a goal is about to apply is a revision.
// The caller holds the lock.
func (s *operation) applyRevision(ctx context.Context, goal Goal) error {
	s.config.Revision, s.config.Reason = 0, string(goal.Verb)
	if goal.applies == nil {
		return nil
	}
	if to := goal.target.Release; to != "" {
		s.config.Reason += " to " + string(to)
	}
	return s.config.Push(ctx, s.config.Reason)
}

// markApplied records what a plan that was done has applied. A way back puts
// former objects in place, of which nobody knows the revision.
func (s *operation) markApplied(ctx context.Context, goal Goal, p plan.Plan) error {
	if goal.applies == nil {
		return nil
	}
	store, err := s.Revisions()
	if err != nil {
		return err
	}
	number := s.config.Revision
	if goal.Verb == pai.VerbRollback {
		number = 0
	}
	return store.MarkApplied(ctx, number, goal.applies(p)...)
}

// nothingToApply records that a folder which changes nothing is applied.
func (s *operation) nothingToApply(ctx context.Context, goal Goal, p plan.Plan, notice func(string, ...any)) error {
	if goal.applies == nil || len(goal.applies(p)) == 0 {
		return nil
	}
	f, err := configsync.Read(ctx, s.Session)
	if err != nil {
		return err
	}
	store, err := s.Revisions()
	if err != nil {
		return err
	}
	applied, err := store.Applied(ctx)
	if err != nil {
		return err
	}
	known := f.Unchanged()
	for _, part := range goal.applies(p) {
		known = known && applied[part] == f.Number()
	}
	if known {
		return nil
	}
	err = s.Locked(ctx, goal.Verb, notice, func(ctx context.Context, _ *run.Lock) error {
		if err := s.applyRevision(ctx, goal); err != nil {
			return err
		}
		return s.markApplied(ctx, goal, p)
	})
	if err == nil {
		configsync.Mirror(ctx, s.Session)
	}
	return err
}
