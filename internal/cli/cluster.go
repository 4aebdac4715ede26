package cli

import (
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/session"
)

func newClusterCommand(env *Env) *cobra.Command {
	return group("cluster", "Boot, clean, back up, and show the Kubernetes cluster",
		newBootupCommand(env), newCleanCommand(env), newBackupCommand(env), newRestoreCommand(env), newClusterStatusCommand(env), newCertificatesCommand(env), newKeysCommand(env))
}

func newBootupCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "k8s-bootup",
		Short: "Run the Kubernetes of the configuration on its machines",
		Args:  cobra.NoArgs,
	}
	f := addOperateFlags(env, cmd)
	addParallelMachines(cmd, f)
	addSkipCheck(cmd, &f.skip)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.run(cmd.Context(), "boot Kubernetes on the machines of the configuration",
			func(s *session.Session) (operation.Goal, error) { return operation.Bootup(s), nil })
	}
	return cmd
}

func newCleanCommand(env *Env) *cobra.Command {
	var deleteData bool
	cmd := &cobra.Command{
		Use:   "k8s-clean",
		Short: "Remove Kubernetes from the machines, but keep its data",
		Args:  cobra.NoArgs,
	}
	f := addOperateFlags(env, cmd)
	addParallelMachines(cmd, f)
	cmd.Flags().BoolVar(&deleteData, "delete-data", false, "also delete the etcd data, the certificates, and all other data of PAI on the machines")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		what := "remove Kubernetes from every machine"
		if deleteData {
			what = "delete the cluster with all its data"
		}
		return f.runDeletion(cmd.Context(), what, deleteData, fixed(operation.Clean(deleteData)))
	}
	return cmd
}
