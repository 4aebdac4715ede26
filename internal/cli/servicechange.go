package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func newServiceStartCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "start [NAME…]",
		Short: "Start services, or all of them, prerequisites first",
		Long: `Start services, or all of them, prerequisites first, at the release that the
configuration names. What already runs as it should is left alone.

--skip starts all but those. One that a service needs can be skipped only while
it runs: then it is left as it is.`,
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	f.skip = addSkipCheck(cmd)
	skip := addSkip(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		which, err := choice(names, *skip)
		if err != nil {
			return err
		}
		return operateOn(cmd.Context(), t, *f, "start services",
			func(s *session.Session) (operation.Goal, error) { return operation.StartServices(s, which), nil })
	}
	return cmd
}

func newServiceStopCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop [NAME…]",
		Short: "Stop services, or all of them, in the reverse of their starting order",
		Long: `Stop services, or all of them, in the reverse of their starting order. Jobs that
run go on; their state, and that of the services, stays. Services that need one
that is named are stopped as well.

--skip stops all but those. What a skipped service that runs needs has to be
skipped too.`,
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	skip := addSkip(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		which, err := choice(names, *skip)
		if err != nil {
			return err
		}
		return operateOn(cmd.Context(), t, *f, "stop services",
			func(s *session.Session) (operation.Goal, error) { return operation.StopServices(s, which), nil })
	}
	return cmd
}

func newServiceRefreshCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "refresh [NAME…]",
		Short: "Apply the configuration to services that run, restarting no more than it changes",
		Long: `Apply the configuration to services that run, or to those named, each at the
release that it is of; what does not run is left alone. Each service is compared
with what is in the cluster, and those that are as the configuration has them
have no step. Objects are changed in place. A workload is restarted only where
its own pods change: --dry-run says which would be, and the report which were.

A release is never moved: "paictl upgrade apply" and "paictl service start" do
that. A service that jobs read or write through is not changed while jobs run.`,
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	// What it changes is what it is about: that is always shown.
	f.diff = true
	// The only error is that of a flag that does not exist.
	_ = cmd.Flags().MarkHidden("diff")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return operateOn(cmd.Context(), t, *f, "apply the configuration to services",
			func(s *session.Session) (operation.Goal, error) { return operation.RefreshServices(s, names), nil })
	}
	return cmd
}

func newServiceDeleteCommand(env *Env) *cobra.Command {
	var deleteData bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a service; its state stays unless --delete-data",
		Long: `Remove a service that no other running service needs: its objects, and what was
recorded of it for a way back. What holds its state or jobs stays, and so do the
definitions of its kinds; --delete-data deletes them as well, with the files
that it kept on machines. Namespaces, and definitions of which objects exist,
always stay. A start of all services brings it again.

It is refused while jobs need it: while jobs run, if they read or write through
it (job impact data-path); while jobs wait, if they are submitted or started
through it (job impact submission), because they would not start; and with
--delete-data also while such jobs run. --accept-risk=interrupt-jobs and
--accept-risk=strand-jobs accept that.`,
		Args: cobra.ExactArgs(1),
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	cmd.Flags().BoolVar(&deleteData, "delete-data", false, "also delete the state of the service")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		what := "delete service " + names[0]
		if deleteData {
			what += " with its data"
			if !f.dryRun && t.env.isLocal(session.LocalClusterID) {
				if err := env.confirm("This will " + what + ". Go on?"); err != nil {
					return err
				}
			}
		}
		return operateOn(cmd.Context(), t, *f, what,
			func(s *session.Session) (operation.Goal, error) {
				return operation.DeleteService(s, names[0], deleteData), nil
			})
	}
	return cmd
}

// addSkip gives a command --skip.
func addSkip(cmd *cobra.Command) *[]string {
	skip := &[]string{}
	cmd.Flags().StringSliceVar(skip, "skip", nil, "all services but these; may be given several times, or a list with commas")
	return skip
}

// choice is said before anything is reached, where it cannot be meant.
func choice(names, skip []string) (plan.Choice, error) {
	if len(names) > 0 && len(skip) > 0 {
		return plan.Choice{}, pai.Errorf(pai.CodeUsage, "leave out either the names or --skip", "services are both named and skipped")
	}
	return plan.Choice{Names: names, Skip: skip}, nil
}
