package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

func newUpgradeRollbackCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Go back to what ran before the last upgrade, while jobs run",
		Long: `Go back to the pair of services and Kubernetes that ran before the last
upgrade: first the services, from what was recorded when they were applied,
then Kubernetes. Until a hop of Kubernetes is committed nothing is lost. As in
an upgrade, the plan is shown first and then done as shown, and a step that
could interrupt a running job is refused unless that risk is accepted by name.

Interrupted anywhere, the same command goes on where it stopped.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	target := &plan.Target{}
	cmd.Flags().BoolVar(&target.KubernetesOnly, "kubernetes", false, "take Kubernetes back alone")
	cmd.Flags().BoolVar(&target.ServicesOnly, "services", false, "take the services back alone")
	cmd.MarkFlagsMutuallyExclusive("kubernetes", "services")
	f := addOperateFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return operateOn(cmd.Context(), t, *f, "take the cluster back to what ran before the last upgrade",
			func(s *session.Session) (operation.Goal, error) { return operation.Rollback(cmd.Context(), s, *target) })
	}
	return cmd
}
