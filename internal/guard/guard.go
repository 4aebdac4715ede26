package guard

import (
	"context"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// Guard decides about steps with facts that are observed at the time of the call.
type Guard struct {
	facts    FactSource
	impacts  map[string]pai.JobImpact
	accepted []string
}

// New returns a Guard. impacts is as for Impacts. accepted are the names of the
// risks that the operator accepted; an unknown name is a usage error.
func New(facts FactSource, impacts map[string]pai.JobImpact, accepted []string) (*Guard, error) {
	if err := validateRisks(accepted); err != nil {
		return nil, err
	}
	return &Guard{facts: facts, impacts: impacts, accepted: accepted}, nil
}

// Check returns nil if a step can start, and otherwise the error of the decision.
func (g *Guard) Check(ctx context.Context, step plan.Step) error {
	d := g.Decide(ctx, step)
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.Err(step)
}

// Decide observes the facts that a decision about the step needs, and decides.
func (g *Guard) Decide(ctx context.Context, step plan.Step) Decision {
	jobs := func() Fact[[]pai.Job] { return g.facts.Jobs(ctx) }
	if needed := neededBy(step, g.impacts); needed.queued {
		if d := decideDelete(step, needed, g.facts.Queued(ctx), jobs, g.accepted); d.Verdict != Go {
			return d
		}
	}
	if asksQuorum(step) {
		if d := g.decideQuorum(ctx, step); d.Verdict != Go {
			return d
		}
	}
	switch risk := Risk(step, g.impacts); {
	case risk == pai.RiskAPI && replacesAPIServer(step):
		return decideAPIServer(g.facts.Kubelets(ctx), jobs).acceptInterruption(g.accepted)
	case risk == pai.RiskNone || risk == pai.RiskAPI:
		return Decide(step, risk, Facts{}, g.accepted)
	case risk == pai.RiskNode || risk == pai.RiskEviction:
		return g.decideMachine(ctx, step, risk)
	default:
		return Decide(step, risk, Facts{Jobs: jobs()}, g.accepted)
	}
}

// A transient violation is evaluated again every transientInterval, for up to
// transientTimeout: device plugins register again within seconds after a kubelet
// restart, for example by the hop before this one.
const (
	transientTimeout  = 20 * time.Second
	transientInterval = time.Second
)

func (g *Guard) decideMachine(ctx context.Context, step plan.Step, risk pai.Risk) Decision {
	var d Decision
	wait := poll.Wait{For: "transient violations on " + step.Target, Timeout: transientTimeout, Every: transientInterval}
	// The last decision counts, also if the violation is still there. Its facts have
	// their own time limits.
	_ = wait.Until(ctx, func(context.Context) (bool, error) {
		d = Decide(step, risk, g.machineFacts(ctx, step, risk), g.accepted)
		return !d.Transient, nil
	})
	return d
}

// machineFacts observes the facts for the in-place rules only if these apply.
func (g *Guard) machineFacts(ctx context.Context, step plan.Step, risk pai.Risk) Facts {
	jobs, containers := g.facts.JobsOn(ctx, step.Target), g.facts.Containers(ctx, step.Target)
	var f Facts
	if risk != pai.RiskEviction {
		f = g.facts.Machine(ctx, step)
	}
	f.Jobs, f.Containers = jobs, containers
	return f
}
