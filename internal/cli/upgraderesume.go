package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// addWait gives a command --wait and --wait-timeout.
func addWait(cmd *cobra.Command) *operation.WaitOptions {
	w := &operation.WaitOptions{}
	cmd.Flags().BoolVar(&w.On, "wait", false, "stay, and upgrade machines that wait for jobs as those end")
	cmd.Flags().DurationVar(&w.Timeout, "wait-timeout", 24*time.Hour, "with --wait: how long to stay at most")
	return w
}

func newUpgradeResumeCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume",
		Short: "Go on with the upgrade that was interrupted, or that left machines waiting for their jobs",
		Long: `Go on with the upgrade that was interrupted, or that left machines waiting for
their jobs: toward the same target, from what is there now. Where nothing was
left it says so and is content.

Exit code 5 says that all is done that may be done now, and that machines still
wait; with --wait it stays until none does.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	f.wait = addWait(cmd)
	f.skip = addSkipCheck(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := check.ValidateIDs(f.skipped()); err != nil {
			return err
		}
		s, err := t.open(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		op, err := operation.Unfinished(cmd.Context(), s)
		if err != nil {
			return err
		}
		if op == nil {
			st, err := operation.UpgradeStatus(cmd.Context(), s)
			if err != nil {
				return err
			}
			return env.Show(st, func(p *ui.Page) {
				p.Linef("nothing to resume: %s.", describeRunning(st.Current, st.APIError))
			})
		}
		target, err := operation.Resumable(*op)
		if err != nil {
			return err
		}
		if err := ensureBundles(cmd, env, target); err != nil {
			return err
		}
		env.Progressf("going on with operation %s (%s) toward %s", op.ID, op.Outcome, target.Release)
		if !f.dryRun {
			if err := t.confirmCluster(s, "go on upgrading the cluster to "+string(target.Release)); err != nil {
				return err
			}
		}
		err = operate(cmd.Context(), env, s, operation.Upgrade(s, target), *f)
		return err
	}
	return cmd
}

func newUpgradeAbandonCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "abandon",
		Short: "Give up an unfinished upgrade: machines that PAI cordoned take jobs again",
		Long: `Give up an unfinished upgrade. Machines that PAI cordoned take jobs again;
what an operator cordoned stays so. What was upgraded stays upgraded, and a
machine that waited keeps the version it has until the next upgrade.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return operateOn(cmd.Context(), t, *f, "give up the unfinished upgrade of the cluster",
			func(s *session.Session) (operation.Goal, error) {
				op, err := operation.Unfinished(cmd.Context(), s)
				if err == nil && op != nil {
					env.Progressf("giving up operation %s (%s) toward %s", op.ID, op.Outcome, describePair(op.To))
				}
				return operation.Abandon(s), err
			})
	}
	return cmd
}

func newUpgradeStatusCommand(env *Env) *cobra.Command {
	return showsCluster(env, &cobra.Command{
		Use:   "status",
		Short: "Show how far the upgrade is, what waits for which jobs, and which command goes on",
	}, func(ctx context.Context, s *session.Session) (operation.Status, error) {
		return operation.UpgradeStatus(ctx, s)
	}, writeUpgradeStatus)
}

func writeUpgradeStatus(p *ui.Page, st operation.Status) {
	p.Linef("the cluster runs %s", describeRunning(st.Current, st.APIError))
	if op := st.Operation; op == nil {
		p.Linef("no upgrade is in progress or unfinished")
	} else {
		p.Linef("upgrade to %s: %s (operation %s, by %s, started %s)", describePair(op.To), describeState(st), op.ID, op.By, ui.Time(op.Started))
		p.Linef("  steps\t%d done, %d left", len(st.Done), len(st.Left))
		if st.State != operation.StateDone {
			for _, id := range st.Left {
				p.Linef("  \t  %s", id)
			}
		}
		if op.Error != "" && st.State == operation.StateUnfinished {
			p.Linef("  error\t%s", op.Error)
		}
	}
	if a := st.Abandoned; a != nil {
		p.Linef("  abandoned\tby %s, %s, in operation %s; the next upgrade includes the remaining steps", a.By, ui.Time(a.At), a.Operation)
	}
	for _, w := range st.Waiting {
		p.Linef("  waiting\t%s since %s for %s", w.Machine, ui.Time(w.Since), waitsFor(w))
		p.Linef("  \t  %s", w.Reason)
	}
	for _, c := range st.Cordoned {
		by := c.By
		if c.Operation != "" {
			by += ", in operation " + c.Operation
		}
		p.Linef("  cordoned\t%s, by %s", c.Machine, by)
	}
	if st.Lock != nil {
		p.Linef("  lock\theld by %s%s", st.Lock.Holder, map[string]string{"dead": "; that process is no longer running"}[st.Lock.Health])
	}
	if st.APIError != "" {
		p.Linef("jobs and cordons are from the journal; the API server is not responding: %s", st.APIError)
	}
	if st.Next != "" {
		p.Linef("to continue, run: %s", st.Next)
	}
}

func describeState(st operation.Status) string {
	switch {
	case st.State == operation.StateUnfinished && st.Operation.Outcome == pai.OutcomeRunning:
		return "unfinished, its process is no longer running"
	case st.State == operation.StateUnfinished:
		return "unfinished, " + string(st.Operation.Outcome)
	case st.State == operation.StateUnderWay:
		return "in progress"
	default:
		return st.State
	}
}

func waitsFor(w operation.WaitingState) string {
	if w.Ready {
		return "no job; it can be upgraded"
	}
	return ui.JobNames(w.Jobs)
}
