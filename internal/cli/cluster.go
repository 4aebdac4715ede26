package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/session"
)

func newClusterCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Boot, clean and look at the Kubernetes cluster",
	}
	cmd.AddCommand(newBootupCommand(env), newCleanCommand(env), newClusterStatusCommand(env))
	return cmd
}

func newBootupCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "k8s-bootup",
		Short: "Make the machines run the Kubernetes that the configuration names",
		Long: `Make the machines run the Kubernetes that the configuration names: boot a new
cluster, bring a cleaned one back with its data, join machines that were added,
or move what runs to a newer version where the support plan allows it. Nothing
is done where nothing is missing. Running jobs are guarded as in an upgrade.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	f.skip = addSkipCheck(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return operateOn(cmd.Context(), t, *f, "boot Kubernetes on the machines of the configuration",
			func(s *session.Session) (operation.Goal, error) { return operation.Bootup(s), nil })
	}
	return cmd
}

func newCleanCommand(env *Env) *cobra.Command {
	var deleteData bool
	cmd := &cobra.Command{
		Use:   "k8s-clean",
		Short: "Take Kubernetes off the machines; its data stays unless --delete-data",
		Long: `Take Kubernetes off the machines. etcd's data and the certificates stay, so that
k8s-bootup brings the same cluster back; --delete-data wipes them as well.

It ends every container, so it refuses while jobs run, unless their end is
accepted with --accept-risk=evict-jobs:MACHINE for each machine that they run on.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	f := addOperateFlags(cmd)
	cmd.Flags().BoolVar(&deleteData, "delete-data", false, "also delete etcd's data, the certificates and everything else PAI owns on the machines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		what := "take Kubernetes off every machine"
		if deleteData {
			what = "delete the cluster with all its data"
			if t.env.isLocal(session.LocalClusterID) {
				if err := env.confirm("This will " + what + ". Go on?"); err != nil {
					return err
				}
			}
		}
		return operateOn(cmd.Context(), t, *f, what,
			func(s *session.Session) (operation.Goal, error) { return operation.Clean(s, deleteData), nil })
	}
	return cmd
}
