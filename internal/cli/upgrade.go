package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func newUpgradeCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Plan and carry out upgrades of Kubernetes and of the services, while jobs run",
	}
	cmd.AddCommand(newUpgradePlanCommand(env), newUpgradeStageCommand(env), newUpgradeApplyCommand(env), newUpgradeStatusCommand(env), newUpgradeResumeCommand(env), newUpgradeAbandonCommand(env), newUpgradeRollbackCommand(env), newUpgradeHistoryCommand(env))
	return cmd
}

// addUpgradeTarget gives a command --to, --kubernetes and --services.
func addUpgradeTarget(cmd *cobra.Command) *plan.Target {
	t := &plan.Target{}
	cmd.Flags().StringVar((*string)(&t.Release), "to", "", "release to upgrade to (default: the newest)")
	cmd.Flags().BoolVar(&t.KubernetesOnly, "kubernetes", false, "upgrade Kubernetes alone")
	cmd.Flags().BoolVar(&t.ServicesOnly, "services", false, "upgrade the services alone")
	cmd.MarkFlagsMutuallyExclusive("kubernetes", "services")
	return t
}

// fillTarget checks the release that is named, and names the newest when none is.
func fillTarget(t plan.Target) (plan.Target, error) {
	if t.Release != "" {
		_, err := session.FindRelease(string(t.Release))
		return t, err
	}
	newest, err := session.NewestRelease()
	t.Release = newest.Services.Version
	return t, err
}

func newUpgradePlanCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what an upgrade would do, step by step, and which running jobs each step could touch",
		Args:  cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	to := addUpgradeTarget(cmd)
	offline := addOffline(cmd)
	skip := addSkipCheck(cmd)
	f := &operateFlags{dryRun: true, skip: skip}
	addDiffFlag(cmd, f)
	var file string
	cmd.Flags().StringVar(&file, "save", "", "keep the plan in this file, for: paictl upgrade apply --plan FILE")
	cmd.MarkFlagsMutuallyExclusive("save", "releases")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if offline.given() {
			return offline.run(env, *to)
		}
		target, err := fillTarget(*to)
		if err != nil {
			return err
		}
		if file != "" {
			f.shown = func(s *session.Session, p operation.Preview) error { return savePlan(env, s, target, p, file) }
		}
		return operateOn(cmd.Context(), t, *f, "",
			func(s *session.Session) (operation.Goal, error) { return operation.Upgrade(s, target), nil })
	}
	return cmd
}

func newUpgradeStageCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stage",
		Short: "Bring the programs and images of an upgrade to the machines ahead of it",
		Long: `Bring the programs and images of an upgrade to the machines ahead of it, so that
the upgrade itself copies nothing: what takes long over a slow line can be done
at any time, because nothing that runs is touched. Staged or not, the upgrade
does the same.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	to := addUpgradeTarget(cmd)
	f := addOperateFlags(cmd)
	f.skip = addSkipCheck(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := check.ValidateIDs(f.skipped()); err != nil {
			return err
		}
		target, err := fillTarget(*to)
		if err != nil {
			return err
		}
		if err := ensureBundles(cmd, env, target); err != nil {
			return err
		}
		return operateOn(cmd.Context(), t, *f, "bring what release "+string(target.Release)+" needs to the machines",
			func(s *session.Session) (operation.Goal, error) { return operation.StageUpgrade(s, target), nil })
	}
	return cmd
}

func newUpgradeApplyCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Upgrade Kubernetes and the services while jobs run, and report what became of the jobs",
		Long: `Upgrade Kubernetes and the services while jobs run, and report what became of
the jobs. The plan is shown first and then done as shown; a step that could
interrupt a running job is refused unless that risk is accepted by name. With
--plan FILE it is the plan that was saved, and where the cluster, the
configuration or the bundles are not what it was made from, what moved is said
and nothing is done.

A machine that cannot be changed while jobs run on it is cordoned and left as
it is until they have ended; everything else is done. The exit code is 5 then,
and paictl upgrade resume goes on; with --wait, this command stays and does.

Interrupted anywhere, the same command goes on where it stopped.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	to := addUpgradeTarget(cmd)
	f := addOperateFlags(cmd)
	f.wait = addWait(cmd)
	f.skip = addSkipCheck(cmd)
	var file string
	cmd.Flags().StringVar(&file, "plan", "", "do exactly the plan in this file, which upgrade plan --save made, or nothing")
	for _, other := range []string{"to", "kubernetes", "services"} {
		cmd.MarkFlagsMutuallyExclusive("plan", other)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := check.ValidateIDs(f.skipped()); err != nil {
			return err
		}
		if file != "" {
			saved, err := loadPlan(file)
			if err != nil {
				return err
			}
			f.promised, *to = &saved, saved.Target
		}
		target, err := fillTarget(*to)
		if err != nil {
			return err
		}
		if err := ensureBundles(cmd, env, target); err != nil {
			return err
		}
		return operateOn(cmd.Context(), t, *f, "upgrade the cluster to "+string(target.Release),
			func(s *session.Session) (operation.Goal, error) { return operation.Upgrade(s, target), nil })
	}
	return cmd
}

// ensureBundles builds the target's bundle where there is a source tree to
// build it from; elsewhere the operator has put it into the cache.
func ensureBundles(cmd *cobra.Command, env *Env, target plan.Target) error {
	source := env.sourceTree()
	if source == "" {
		return nil
	}
	_, err := session.EnsureBundle(cmd.Context(), env.dirs(), source, string(target.Release), env.Progressf)
	return err
}

func newUpgradeHistoryCommand(env *Env) *cobra.Command {
	return showsCluster(env, &cobra.Command{
		Use:   "history",
		Short: "Show the operations that were done, newest last, with what the witness saw",
	}, func(ctx context.Context, s *session.Session) ([]pai.Operation, error) {
		return s.History(ctx, pai.UpgradeVerbs()...)
	}, writeHistory)
}

func writeHistory(p *ui.Page, ops []pai.Operation) {
	p.Row("OPERATION", "VERB", "STARTED", "FROM", "TO", "OUTCOME", "JOBS", "INTERRUPTED", "API OUTAGE")
	pair := func(p pai.Pair) string { return ui.OrDash(p.Kubernetes) + ", " + ui.OrDash(p.Services) }
	for _, op := range ops {
		p.Row(op.ID, op.Verb, ui.Time(op.Started), pair(op.From), pair(op.To), op.Outcome, op.Jobs.Before, len(op.Jobs.Interrupted),
			fmt.Sprintf("%.1f s", op.API.OutageSeconds))
	}
}
