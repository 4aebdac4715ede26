package operation

import (
	"context"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// Goal is what an operation achieves. A goal can also implement some of the
// interfaces below.
type Goal interface {
	Verb() pai.Verb
	// Plan makes the plan. It is pure: everything that it needs is in the input.
	Plan(in plan.Input) (plan.Plan, error)
}

// gatherer is a goal that adds something to the input of its plan.
type gatherer interface {
	Gather(ctx context.Context, s *session.Session, in *plan.Input) error
}

// bundled is a goal that needs the bundle of a release on this host.
type bundled interface {
	Bundle(s *session.Session, w plan.World) pai.Release
}

// repeating is a goal whose plan repeats steps that are possibly done, because
// World does not show that. Each is checked before the plan is shown.
type repeating interface {
	RepeatsSteps()
}

// checked is a goal with preflight checks: their stage, and the release that
// they check for. Without a release there is nothing to check.
type checked interface {
	Preflight() (check.Stage, pai.Release)
}

// consented is a goal whose plan has consequences beyond its steps. They are
// shown with the plan, and the operator must accept them.
type consented interface {
	Consequences(ctx context.Context, s *session.Session, p plan.Plan, w plan.World) (consequences, error)
}

// reconfiguring is a goal that changes the configuration before the first step.
type reconfiguring interface {
	Reconfigure(c *configsync.Step, p plan.Plan) error
}

// applying is a goal that applies the configuration. Applies lists the parts
// that are at the revision of the configuration when the plan is done.
type applying interface {
	Applies(p plan.Plan) []revision.Part
}

// equipped is a goal whose steps on machines need more than others.
type equipped interface {
	Equip(o *operation, d *cluster.Deps)
}

// admitting is a goal that decides itself about the start of some of its steps.
// decided is false for the others, which the guard decides.
type admitting interface {
	Admit(ctx context.Context, o *operation, s plan.Step) (decided bool, err error)
}

// cordoning is a goal whose errors can leave a machine cordoned, which its error then says.
type cordoning interface {
	cordonLeft(p plan.Plan, result run.Result) string
}

// targeted is a goal with a target that the journal records.
type targeted interface {
	Target() pai.UpgradeTarget
}

// recorded is a goal that is possibly recorded although its plan has no steps.
type recorded interface {
	MustRecord(ctx context.Context, s *session.Session) (bool, error)
}

// targetOf is the target that the journal records; zero for a goal without one.
func targetOf(g Goal) pai.UpgradeTarget {
	if t, ok := g.(targeted); ok {
		return t.Target()
	}
	return pai.UpgradeTarget{}
}
