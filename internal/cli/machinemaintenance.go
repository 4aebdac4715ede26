package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// onOneMachine is a command that operates on a machine, which it completes.
func onOneMachine(env *Env, verb, short string) (*cobra.Command, *operateFlags) {
	cmd := &cobra.Command{Use: verb + " MACHINE", Short: short, Args: cobra.ExactArgs(1)}
	f := addOperateFlags(env, cmd)
	cmd.ValidArgsFunction = machineNames(env, &f.cluster.configDir).first
	return cmd, f
}

// waitForJobs adds the flags of a command that can wait for the jobs of a machine.
func waitForJobs(cmd *cobra.Command, f *operateFlags) {
	f.wait = addWait(cmd)
	cmd.Flags().Lookup("wait").Usage = "wait for the jobs of the machine to end"
}

func newMachineMaintainCommand(env *Env) *cobra.Command {
	cmd, f := onOneMachine(env, "maintain", "Keep jobs and operations off a machine, to repair or replace it")
	waitForJobs(cmd, f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.run(cmd.Context(), "put machine "+args[0]+" into maintenance", fixed(operation.Maintain(args[0])))
	}
	return cmd
}

func newMachineReturnCommand(env *Env) *cobra.Command {
	cmd, f := onOneMachine(env, "return", "Bring a machine back from maintenance, at the versions of the cluster")
	addSkipCheck(cmd, &f.skip)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.run(cmd.Context(), "return machine "+args[0]+" to the cluster", fixed(operation.Return(args[0])))
	}
	return cmd
}

func newMachineRemoveCommand(env *Env) *cobra.Command {
	cmd, f := onOneMachine(env, "remove", "Remove a worker from the cluster and the layout, and clean it")
	waitForJobs(cmd, f)
	cmd.Flags().Lookup("accept-risk").Usage = "name of a risk to accept: evict-jobs:MACHINE or, for a machine that is lost, lose-machine:MACHINE"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.runDeletion(cmd.Context(), "remove machine "+args[0]+" from the cluster and delete what PAI made on it", true, fixed(operation.RemoveMachine(args[0])))
	}
	return cmd
}

// addMaintenance adds the machines in maintenance to a list, as the control-plane machine
// has them. dir is the configuration; empty for the local machines. If they cannot be
// read, the list is without them.
func (e *Env) addMaintenance(ctx context.Context, dir string, list []machineEntry) {
	if dir == "" {
		dir = e.configDir(session.LocalClusterID)
	}
	if _, err := os.Stat(dir); err != nil || len(list) == 0 {
		return // there are machines, but no cluster
	}
	maintained, err := e.maintained(ctx, dir)
	if err != nil {
		e.Progressf("machines in maintenance: unknown: %v", err)
		return
	}
	for i := range list {
		if m, found := maintained[list[i].Name]; found {
			list[i].Maintenance = &m
		}
	}
}

func (e *Env) maintained(ctx context.Context, dir string) (map[string]pai.Maintenance, error) {
	s, err := session.OpenControlPlane(ctx, dir, e.dirs(), func(string, ...any) {})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	records, err := s.Records()
	if err != nil {
		return nil, err
	}
	return cluster.Maintained(ctx, records)
}
