package operation

import (
	"context"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

// toTarget is a goal that moves the cluster to a target.
type toTarget struct{ target plan.Target }

func (g toTarget) Target() pai.UpgradeTarget                       { return recordedTarget(g.target) }
func (g toTarget) Bundle(*session.Session, plan.World) pai.Release { return g.target.Release }

func recordedTarget(t plan.Target) pai.UpgradeTarget {
	to := pai.UpgradeTarget{Release: t.Release}
	switch {
	case t.KubernetesOnly && !t.ServicesOnly:
		to.Part = pai.PartKubernetes
	case t.ServicesOnly && !t.KubernetesOnly:
		to.Part = pai.PartServices
	}
	return to
}

func planTarget(t pai.UpgradeTarget) plan.Target {
	return plan.Target{Release: t.Release, KubernetesOnly: t.Part == pai.PartKubernetes, ServicesOnly: t.Part == pai.PartServices}
}

// Upgrade moves Kubernetes and the services to a target. The configuration
// names the target from the start of the operation, so that later commands
// continue toward it.
func Upgrade(target plan.Target) Goal { return upgrade{toTarget{target}} }

type upgrade struct{ toTarget }

func (g upgrade) Verb() pai.Verb                        { return pai.VerbUpgrade }
func (g upgrade) Plan(in plan.Input) (plan.Plan, error) { return plan.Upgrade(in, g.target) }
func (g upgrade) Preflight() (check.Stage, pai.Release) { return check.Upgrade, g.target.Release }
func (g upgrade) Applies(p plan.Plan) []revision.Part   { return upgradedParts(p) }
func (g upgrade) Reconfigure(c *configsync.Step, p plan.Plan) error {
	return c.Migrate(p.To, g.target.Release)
}

// MustRecord reports whether an unfinished upgrade to the target is left, or an unfinished
// rollback that the upgrade undoes. If nothing is planned any more, such as when the last
// machine that waited is in maintenance, the record says that the upgrade succeeded.
func (g upgrade) MustRecord(ctx context.Context, s *session.Session) (bool, error) {
	found, err := upgradesOf(ctx, s)
	left, back := found.unfinished(), found.rollback
	return left != nil && left.Target == g.Target() || back != nil && includes(g.Target(), back.Target), err
}

// upgradedParts are the parts that a plan moves to another version: it applies
// the configuration to all of such a part.
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

// StageUpgrade copies the programs and images of an upgrade to the machines.
func StageUpgrade(target plan.Target) Goal { return stageUpgrade{toTarget{target}} }

type stageUpgrade struct{ toTarget }

func (g stageUpgrade) Verb() pai.Verb                        { return pai.VerbStage }
func (g stageUpgrade) Plan(in plan.Input) (plan.Plan, error) { return plan.StagePlan(in, g.target) }
func (g stageUpgrade) Preflight() (check.Stage, pai.Release) { return check.Staging, g.target.Release }

// Abandon ends an unfinished upgrade and removes the PAI cordons. Machines that
// waited keep their version until the next upgrade. It is recorded also if no
// machine is cordoned, because the record prevents that the upgrade is resumed.
func Abandon() Goal { return abandon{} }

type abandon struct{}

func (abandon) Verb() pai.Verb { return pai.VerbAbandon }

func (abandon) Plan(in plan.Input) (plan.Plan, error) {
	w := in.World
	if !w.APIReachable {
		return plan.Plan{}, pai.Errorf(pai.CodeRefused, "restore the API server and run the command again; for its state, run: paictl cluster status",
			"cannot determine which machines PAI cordoned: %s", w.APIOutage())
	}
	p := plan.Plan{Verb: pai.VerbAbandon, From: w.Current, To: w.Current, Hops: []plan.Hop{}, Steps: plan.Uncordon(w)}
	return p, p.Validate()
}

func (abandon) MustRecord(ctx context.Context, s *session.Session) (bool, error) {
	found, err := upgradesOf(ctx, s)
	return found.unfinished() != nil || found.rollback != nil, err
}
