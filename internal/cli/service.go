package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func newServiceCommand(env *Env) *cobra.Command {
	return group("service", "Start, stop, refresh, delete, and show the PAI services",
		newServiceStartCommand(env), newServiceStopCommand(env), newServiceRefreshCommand(env),
		newServiceDeleteCommand(env), newServiceStatusCommand(env))
}

func newServiceStatusCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "status [NAME…]",
		Short:             "Show the release and the health of services",
		ValidArgsFunction: values(serviceNames).complete,
	}
	cluster := addClusterFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return cluster.withSession(cmd.Context(), func(s *session.Session) error {
			w, err := operation.Observe(cmd.Context(), s)
			if err != nil {
				return err
			}
			if !w.APIReachable {
				return pai.Errorf(pai.CodeFailed, "for the state of the API server, run: paictl cluster status",
					"services: unknown; the API server is not responding: %s", ui.OrDash(w.APIError))
			}
			rows, err := operation.ServiceRows(s, w, names)
			if err != nil {
				return err
			}
			if err := env.Show(rows, func(p *ui.Page) { writeServices(p, rows) }); err != nil {
				return err
			}
			return notReady(rows)
		})
	}
	return cmd
}

func writeServices(p *ui.Page, rows []operation.ServiceRow) {
	p.Row("SERVICE", "RELEASE", "JOB IMPACT", "STATE")
	for _, r := range rows {
		state := "stopped"
		if r.Installed {
			state = serviceState(plan.Installed{Ready: r.Ready, Message: r.Message})
		}
		p.Row(r.Name, r.Release, r.JobImpact, state)
	}
	for _, r := range rows {
		writePortal(p, r.Addresses)
	}
}

// writePortal says where the portal is, if it runs, and how to sign in. It has the same
// address on every machine.
func writePortal(p *ui.Page, addresses []string) {
	if len(addresses) == 0 {
		return
	}
	p.Linef("\nportal: %s", addresses[0])
	p.Linef("  sign in with a user name and a password, or with a token; to set a password, run: paictl user update admin --password")
}

func notReady(rows []operation.ServiceRow) error {
	for _, r := range rows {
		if !r.Ready {
			return pai.Errorf(pai.CodeFailed, "start the service, run: paictl service start "+r.Name, "service %s is not ready", r.Name)
		}
	}
	return nil
}

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
	f := addOperateFlags(env, cmd)
	cmd.Flags().StringSliceVar(&skip, "skip", nil, "names of services to leave out of all services, separated by commas")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if len(names) > 0 && len(skip) > 0 {
			return pai.Errorf(pai.CodeUsage, "omit either the names or --skip", "services are both named and skipped")
		}
		return f.run(cmd.Context(), verb+" services",
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
	f := addOperateFlags(env, cmd)
	f.diff = true                      // a refresh always shows what it changes
	_ = cmd.Flags().MarkHidden("diff") // fails only for an unknown flag
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return f.run(cmd.Context(), "apply the configuration to services",
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
	f := addOperateFlags(env, cmd)
	cmd.Flags().BoolVar(&deleteData, "delete-data", false, "also delete the data of the service")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		what := "delete service " + names[0]
		if deleteData {
			what += " with its data"
		}
		return f.runDeletion(cmd.Context(), what, deleteData,
			func(s *session.Session) (operation.Goal, error) {
				return operation.DeleteService(names[0], deleteData), nil
			})
	}
	return cmd
}
