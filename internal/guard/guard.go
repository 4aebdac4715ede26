package guard

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Guard answers for steps with facts gathered at the moment of asking.
type Guard struct {
	facts    FactSource
	impacts  map[string]pai.JobImpact
	accepted []string
}

// New makes a Guard. impacts is as for Impact; accepted are the names of the
// risks that the operator took.
func New(facts FactSource, impacts map[string]pai.JobImpact, accepted []string) (*Guard, error) {
	if err := CheckAccepted(accepted); err != nil {
		return nil, err
	}
	return &Guard{facts: facts, impacts: impacts, accepted: accepted}, nil
}

// Check is nil when a step may go, and otherwise a pai.Error with its reason,
// the jobs, and what to do: a refusal, or pai.CodeWaiting.
func (g *Guard) Check(ctx context.Context, step plan.Step) error {
	d := g.Decide(ctx, step)
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.Err(step)
}

// Err is nil when the decision is Go, and otherwise says why not.
func (d Decision) Err(step plan.Step) error {
	if d.Verdict == Go {
		return nil
	}
	code, message := pai.CodeRefused, fmt.Sprintf("%s is refused: %s", step.ID, d.Reason)
	if d.Verdict == Wait {
		code, message = pai.CodeWaiting, fmt.Sprintf("%s has to wait: %s", step.ID, d.Reason)
	}
	if len(d.Jobs) > 0 {
		message += fmt.Sprintf("; jobs it could touch: %s", joinRefs(d.Jobs))
	}
	return &pai.Error{Code: code, Message: message, Next: d.Next}
}

// Decide gathers what a decision about the step rests on, and decides.
func (g *Guard) Decide(ctx context.Context, step plan.Step) Decision {
	risk := Risk(step, g.impacts)
	if needed := neededBy(step, g.impacts); needed.queued {
		if d := decideDelete(step, needed, g.facts.Queued(ctx), func() Fact[[]pai.Job] { return g.facts.Jobs(ctx) }, g.accepted); d.Verdict != Go {
			return d
		}
	}
	switch risk {
	case pai.RiskNone:
		return Decide(step, risk, Facts{}, g.accepted)
	case pai.RiskAPI:
		if (step.Kind == plan.KindAPIServer || step.Kind == plan.KindCommit) && step.From != "" && step.From != step.To {
			return decideAPIServer(g.facts.Kubelets(ctx), func() Fact[[]pai.Job] { return g.facts.Jobs(ctx) }).accept(g.accepted, AcceptInterrupt)
		}
		return Decide(step, risk, Facts{}, g.accepted)
	case pai.RiskNode, pai.RiskEviction:
		return g.decideMachine(ctx, step, risk)
	default:
		return Decide(step, risk, Facts{Jobs: g.facts.Jobs(ctx)}, g.accepted)
	}
}

// passingPatience bounds how long the guard asks again where what stands in the
// way passes by itself: device plugins register again within seconds after
// their kubelet was restarted, as a hop just before this one does.
const (
	passingPatience = 20 * time.Second
	passingEvery    = time.Second
)

func (g *Guard) decideMachine(ctx context.Context, step plan.Step, risk pai.Risk) Decision {
	deadline := time.Now().Add(passingPatience)
	for {
		d := Decide(step, risk, g.machineFacts(ctx, step), g.accepted)
		if !d.Transient || !time.Now().Before(deadline) {
			return d
		}
		select {
		case <-ctx.Done():
			return d
		case <-time.After(passingEvery):
		}
	}
}

// machineFacts asks what costs more only where a gate has to be met.
func (g *Guard) machineFacts(ctx context.Context, step plan.Step) Facts {
	idleness := Facts{Jobs: g.facts.JobsOn(ctx, step.Target), Containers: g.facts.Containers(ctx, step.Target)}
	if Risk(step, g.impacts) == pai.RiskEviction {
		return idleness
	}
	f := g.facts.Machine(ctx, step)
	f.Jobs, f.Containers = idleness.Jobs, idleness.Containers
	return f
}

// decideAPIServer: a new API server alone can restart containers under
// kubelets that hash every field of a pod (kubernetes/kubernetes #128917).
func decideAPIServer(kubelets Fact[map[string]string], jobs func() Fact[[]pai.Job]) Decision {
	if !kubelets.known {
		return Decision{Verdict: Refuse, Next: nextFor(AcceptInterrupt, nil),
			Reason: "the kubelets' versions could not be observed: " + kubelets.why()}
	}
	tooOld := map[string]string{}
	for machine, v := range kubelets.value {
		if text := kubeletTooOld(v); text != "" {
			tooOld[machine] = text
		}
	}
	if len(tooOld) == 0 {
		return Decision{Verdict: Go, Reason: "only the Kubernetes API may pause; running containers do not notice"}
	}
	running := jobs()
	for _, machine := range slices.Sorted(maps.Keys(tooOld)) {
		why := fmt.Sprintf("%s: %s, and can do so when the API server alone is", machine, tooOld[machine])
		if !running.known {
			return Decision{Verdict: Refuse, Next: nextFor(AcceptInterrupt, nil),
				Reason: fmt.Sprintf("%s; which jobs run there is not known: %s", why, running.why())}
		}
		if affected := refs(on(machine, running.value)); len(affected) > 0 {
			return Decision{Verdict: Refuse, Jobs: affected, Next: nextFor(AcceptInterrupt, affected), Reason: why}
		}
	}
	return Decision{Verdict: Go, Reason: "no job runs on a machine whose kubelet could restart its containers"}
}
