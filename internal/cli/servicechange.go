package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func newServiceStartCommand(env *Env) *cobra.Command {
	cmd, f := newServicesCommand(env, "start", "Start services, or all services, prerequisites first", operation.StartServices)
	addSkipCheck(cmd, &f.skip)
	return cmd
}

func newServiceStopCommand(env *Env) *cobra.Command {
	cmd, _ := newServicesCommand(env, "stop", "Stop services, or all services, prerequisites last",
		func(_ *session.Session, which plan.Choice) operation.Goal { return operation.StopServices(which) })
	return cmd
}

// newServicesCommand is a command for the named services, or for all of them.
func newServicesCommand(env *Env, verb, short string, goal func(*session.Session, plan.Choice) operation.Goal) (*cobra.Command, *operateFlags) {
	var skip []string
	cmd := &cobra.Command{
		Use:               verb + " [NAME…]",
		Short:             short,
		ValidArgsFunction: values(serviceNames).complete,
	}
	cluster := addClusterFlags(env, cmd)
	f := addOperateFlags(cmd)
	cmd.Flags().StringSliceVar(&skip, "skip", nil, "names of services to leave out of all services, separated by commas")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if len(names) > 0 && len(skip) > 0 {
			return pai.Errorf(pai.CodeUsage, "omit either the names or --skip", "services are both named and skipped")
		}
		return operateOn(cmd.Context(), cluster, *f, verb+" services",
			func(s *session.Session) (operation.Goal, error) {
				return goal(s, plan.Choice{Names: names, Skip: skip}), nil
			})
	}
	return cmd, f
}

func newServiceRefreshCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "refresh [NAME…]",
		Short:             "Apply the configuration to running services",
		ValidArgsFunction: values(serviceNames).complete,
	}
	cluster := addClusterFlags(env, cmd)
	f := addOperateFlags(cmd)
	f.diff = true                      // a refresh always shows what it changes
	_ = cmd.Flags().MarkHidden("diff") // fails only for an unknown flag
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return operateOn(cmd.Context(), cluster, *f, "apply the configuration to services",
			func(s *session.Session) (operation.Goal, error) { return operation.RefreshServices(s, names), nil })
	}
	return cmd
}

func newServiceDeleteCommand(env *Env) *cobra.Command {
	var deleteData bool
	cmd := &cobra.Command{
		Use:               "delete NAME",
		Short:             "Delete a service, but keep its data",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: values(serviceNames).first,
	}
	cluster := addClusterFlags(env, cmd)
	f := addOperateFlags(cmd)
	cmd.Flags().BoolVar(&deleteData, "delete-data", false, "also delete the data of the service")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		what := "delete service " + names[0]
		if deleteData {
			what += " with its data"
			if !f.dryRun && env.isLocal(session.LocalClusterID) {
				if err := env.confirm("This will " + what); err != nil {
					return err
				}
			}
		}
		return operateOn(cmd.Context(), cluster, *f, what,
			func(s *session.Session) (operation.Goal, error) {
				return operation.DeleteService(names[0], deleteData), nil
			})
	}
	return cmd
}
