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
}

func notReady(rows []operation.ServiceRow) error {
	for _, r := range rows {
		if !r.Ready {
			return pai.Errorf(pai.CodeFailed, "start the service, run: paictl service start "+r.Name, "service %s is not ready", r.Name)
		}
	}
	return nil
}
