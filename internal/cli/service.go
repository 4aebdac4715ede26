package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func newServiceCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Start, stop, refresh, delete and look at the PAI services",
	}
	cmd.AddCommand(newServiceStartCommand(env), newServiceStopCommand(env), newServiceRefreshCommand(env),
		newServiceDeleteCommand(env), newServiceStatusCommand(env))
	return cmd
}

func newServiceStatusCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [NAME…]",
		Short: "Show each service's release and health; exit 1 if any is not ready",
	}
	t := addTarget(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		s, err := t.open(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		w, err := operation.Observe(cmd.Context(), s)
		if err != nil {
			return err
		}
		if !w.APIReachable {
			return pai.Errorf(pai.CodeFailed, "see: paictl cluster status", "the services cannot be seen, the API does not answer: %s", ui.OrDash(w.APIError))
		}
		rows, err := operation.ServiceRows(s, w, names)
		if err != nil {
			return err
		}
		if err := env.Show(rows, func(p *ui.Page) { writeServices(p, rows) }); err != nil {
			return err
		}
		return notReady(rows)
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
			return pai.Errorf(pai.CodeFailed, "start it with: paictl service start "+r.Name, "service %s is not ready", r.Name)
		}
	}
	return nil
}
