package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func newUpgradeCommand(env *Env) *cobra.Command {
	return group("upgrade", "Upgrade Kubernetes and the PAI services while jobs keep running",
		newUpgradePlanCommand(env), newUpgradeStageCommand(env), newUpgradeApplyCommand(env), newUpgradeStatusCommand(env),
		newUpgradeResumeCommand(env), newUpgradeAbandonCommand(env), newUpgradeRollbackCommand(env), newUpgradeHistoryCommand(env))
}

// addUpgradeTarget adds --to, --kubernetes, and --services to a command.
func addUpgradeTarget(cmd *cobra.Command) *plan.Target {
	t := addParts(cmd, "upgrade")
	cmd.Flags().StringVar((*string)(&t.Release), "to", "", "release to upgrade to (default: the newest)")
	return t
}

// addParts adds --kubernetes and --services to a command.
func addParts(cmd *cobra.Command, verb string) *plan.Target {
	t := &plan.Target{}
	cmd.Flags().BoolVar(&t.KubernetesOnly, "kubernetes", false, verb+" only Kubernetes")
	cmd.Flags().BoolVar(&t.ServicesOnly, "services", false, verb+" only the services")
	cmd.MarkFlagsMutuallyExclusive("kubernetes", "services")
	return t
}

// withRelease checks the release of a target; without one it is the newest.
func withRelease(t plan.Target) (plan.Target, error) {
	m, err := findRelease(string(t.Release))
	t.Release = m.Metadata.Name
	return t, err
}

func newUpgradePlanCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show the steps of an upgrade and the running jobs they can affect",
		Args:  cobra.NoArgs,
	}
	f := &operateFlags{cluster: addClusterFlags(env, cmd), dryRun: true}
	to := addUpgradeTarget(cmd)
	offline := addOffline(cmd)
	addSkipCheck(cmd, &f.skip)
	addDiffFlag(cmd, f)
	var file string
	cmd.Flags().StringVar(&file, "save", "", "file to save the plan to, for paictl upgrade apply --plan FILE")
	cmd.MarkFlagsMutuallyExclusive("save", "releases")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if offline.given() {
			return offline.run(env, *to)
		}
		target, err := withRelease(*to)
		if err != nil {
			return err
		}
		if file != "" {
			f.shown = func(s *session.Session, p operation.Preview) error { return savePlan(env, s, target, p, file) }
		}
		return f.run(cmd.Context(), "", fixed(operation.Upgrade(target)))
	}
	return cmd
}

func newUpgradeStageCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stage",
		Short: "Copy the programs and images of a release to machines in advance",
		Args:  cobra.NoArgs,
	}
	to := addUpgradeTarget(cmd)
	f := addOperateFlags(env, cmd)
	addSkipCheck(cmd, &f.skip)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		target, err := prepareUpgrade(cmd.Context(), env, *to)
		if err != nil {
			return err
		}
		return f.run(cmd.Context(), "copy the programs and images of release "+string(target.Release)+" to the machines", fixed(operation.StageUpgrade(target)))
	}
	return cmd
}

func newUpgradeApplyCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Upgrade the cluster while jobs keep running, and report on the jobs",
		Args:  cobra.NoArgs,
	}
	to := addUpgradeTarget(cmd)
	f := addOperateFlags(env, cmd)
	f.wait = addWait(cmd)
	addParallelMachines(cmd, f)
	addSkipCheck(cmd, &f.skip)
	var file string
	cmd.Flags().StringVar(&file, "plan", "", "file of a saved plan to apply exactly as it is")
	for _, other := range []string{"to", "kubernetes", "services"} {
		cmd.MarkFlagsMutuallyExclusive("plan", other)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if file != "" {
			saved, err := loadPlan(file)
			if err != nil {
				return err
			}
			f.saved, *to = &saved, saved.Target
		}
		target, err := prepareUpgrade(cmd.Context(), env, *to)
		if err != nil {
			return err
		}
		return f.run(cmd.Context(), "upgrade the cluster to "+string(target.Release), fixed(operation.Upgrade(target)))
	}
	return cmd
}

// prepareUpgrade checks the release of an upgrade and builds the bundle of its
// target if there is a source tree. Otherwise the operator has copied the
// bundle into the cache.
func prepareUpgrade(ctx context.Context, env *Env, to plan.Target) (plan.Target, error) {
	target, err := withRelease(to)
	if err != nil {
		return target, err
	}
	if source := env.sourceTree(); source != "" {
		_, err = session.EnsureBundle(ctx, env.dirs(), source, string(target.Release), env.Progressf)
	}
	return target, err
}

func newUpgradeHistoryCommand(env *Env) *cobra.Command {
	return showsCluster(env, &cobra.Command{
		Use:   "history",
		Short: "List upgrades and rollbacks with the results of the witness",
	}, session.Open, func(ctx context.Context, s *session.Session) ([]pai.Operation, error) {
		return s.History(ctx, pai.UpgradeVerbs()...)
	}, writeHistory)
}

func writeHistory(p *ui.Page, ops []pai.Operation) {
	p.Row("OPERATION", "VERB", "STARTED", "FROM", "TO", "OUTCOME", "JOBS", "FAILED", "INTERRUPTED", "API OUTAGE")
	pair := func(p pai.Pair) string { return ui.OrDash(p.Kubernetes) + ", " + ui.OrDash(p.Services) }
	for _, op := range ops {
		p.Row(op.ID, op.Verb, ui.Time(op.Started), pair(op.From), pair(op.To), op.Outcome, op.Jobs.Before,
			len(op.Jobs.Failed), len(op.Jobs.Interruptions()), fmt.Sprintf("%.1f s", op.API.OutageSeconds))
	}
	for _, op := range ops {
		if op.Restored == nil {
			continue
		}
		p.Linef("\noperation %s", op.ID)
		for _, line := range ui.Restored(*op.Restored) {
			p.Linef("  %s", line)
		}
	}
}
