package guard

import (
	"context"

	"pai.dev/pai/internal/etcd/quorum"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// Voters is what a step means for the quorum of etcd.
type Voters struct {
	// Stops is false if no voter of etcd runs on the machine, so that the step stops none:
	// it is no control-plane machine, or the step brings its etcd back.
	Stops bool
	State quorum.State
}

// asksQuorum reports whether a step can cost the control plane one of several machines. A
// clean stops one after the other until there is no cluster.
func asksQuorum(step plan.Step) bool {
	return step.StopsControlPlane() && step.Kind != plan.KindClean || step.Kind == plan.KindRemoveVoter
}

// decideQuorum: etcd needs the other voters while a machine is stopped. No risk can be
// accepted for it: without a quorum the API is unavailable until the machine is back.
func decideQuorum(step plan.Step, voters Fact[Voters]) Decision {
	d := Decision{Verdict: Refuse, Next: "bring back the etcd that is named, and run the command again; to see the machines, run: paictl cluster status"}
	if unknown := voters.unknownReason(); unknown != "" {
		d.Reason = "the voters of etcd are unknown: " + unknown
		return d
	}
	if step.Kind == plan.KindRemoveVoter {
		if err := voters.value.State.CanRemove(step.Target); err != nil {
			d.Reason = err.Error()
			return d
		}
		return proceed("the others have a quorum without the member of %s", step.Target)
	}
	if !voters.value.Stops {
		return proceed("no voter of etcd runs on %s", step.Target)
	}
	if err := voters.value.State.CanStop(step.Target); err != nil {
		d.Reason = err.Error()
		return d
	}
	return proceed("etcd has a quorum without %s", step.Target)
}

// CheckQuorum returns nil if the control plane can be without the machine of a step, and
// otherwise the error of the decision. It decides nothing else about the step.
func (g *Guard) CheckQuorum(ctx context.Context, step plan.Step) error {
	if !asksQuorum(step) {
		return nil
	}
	d := g.decideQuorum(ctx, step)
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.Err(step)
}

// decideQuorum asks again for a while: right after the step of another machine, the members
// might not have agreed yet.
func (g *Guard) decideQuorum(ctx context.Context, step plan.Step) (d Decision) {
	wait := poll.Wait{For: "a quorum of etcd without " + step.Target, Timeout: transientTimeout, Every: transientInterval}
	// The last decision counts. Its facts have time limits.
	_ = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		d = decideQuorum(step, g.facts.Voters(ctx, step))
		return d.Verdict == Go, nil
	})
	return d
}
