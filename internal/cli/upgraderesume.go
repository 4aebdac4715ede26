package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// addWait adds --wait and --wait-timeout to a command.
func addWait(cmd *cobra.Command) *operation.WaitOptions {
	w := &operation.WaitOptions{}
	cmd.Flags().BoolVar(&w.On, "wait", false, "wait for jobs to end and upgrade the waiting machines")
	cmd.Flags().DurationVar(&w.Timeout, "wait-timeout", 24*time.Hour, "with --wait: longest time to wait")
	return w
}

func newUpgradeResumeCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Resume an interrupted upgrade or upgrade waiting machines",
		Args:  cobra.NoArgs,
	}
	f := addOperateFlags(env, cmd)
	f.wait = addWait(cmd)
	addParallelMachines(cmd, f)
	addSkipCheck(cmd, &f.skip)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.cluster.withSession(cmd.Context(), func(s *session.Session) error {
			return resume(cmd.Context(), s, *f)
		})
	}
	return cmd
}

func resume(ctx context.Context, s *session.Session, f operateFlags) error {
	env := f.cluster.env
	op, err := operation.Unfinished(ctx, s)
	if err != nil {
		return err
	}
	if op == nil {
		st, err := operation.UpgradeStatus(ctx, s)
		if err != nil {
			return err
		}
		return env.Show(st, func(p *ui.Page) {
			p.Linef("nothing to resume: %s.", describeRunning(st.Current, st.APIError))
			if st.Operation != nil && st.Operation.Verb == pai.VerbRollback && st.Next != "" {
				p.Linef("a rollback is unfinished; to continue it, run: %s", st.Next)
			}
		})
	}
	target, err := operation.Resumable(*op)
	if err != nil {
		return err
	}
	if target, err = prepareUpgrade(ctx, env, target); err != nil {
		return err
	}
	env.Progressf("resuming operation %s (%s) to %s", op.ID, op.Outcome, target.Release)
	if !f.dryRun {
		if err := f.cluster.confirm(s, "resume the upgrade of the cluster to "+string(target.Release)); err != nil {
			return err
		}
	}
	return operate(ctx, env, s, operation.Upgrade(target), f)
}

func newUpgradeAbandonCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "abandon",
		Short: "Abandon an unfinished upgrade and remove the PAI cordons",
		Args:  cobra.NoArgs,
	}
	f := addOperateFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.run(cmd.Context(), "abandon the unfinished upgrade of the cluster",
			func(s *session.Session) (operation.Goal, error) {
				op, err := operation.Unfinished(cmd.Context(), s)
				if err == nil && op != nil {
					env.Progressf("abandoning operation %s (%s) to %s", op.ID, op.Outcome, describePair(op.To))
				}
				return operation.Abandon(), err
			})
	}
	return cmd
}

func newUpgradeRollbackCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Roll back the last upgrade while jobs keep running",
		Args:  cobra.NoArgs,
	}
	target := addParts(cmd, "roll back")
	f := addOperateFlags(env, cmd)
	addParallelMachines(cmd, f)
	addSkipCheck(cmd, &f.skip)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.run(cmd.Context(), "roll the cluster back to the versions before the last upgrade",
			func(s *session.Session) (operation.Goal, error) { return operation.Rollback(cmd.Context(), s, *target) })
	}
	return cmd
}
