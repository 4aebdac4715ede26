package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// replaceFlags are the flags of `machine replace`.
type replaceFlags struct {
	operate *operateFlags
	with    string
}

func newMachineReplaceCommand(env *Env) *cobra.Command {
	var f replaceFlags
	cmd := &cobra.Command{Use: "replace LOST", Short: "Replace a lost control-plane machine with a worker", Args: cobra.ExactArgs(1)}
	f.operate = addOperateFlags(env, cmd)
	addParallelMachines(cmd, f.operate)
	addSkipCheck(cmd, &f.operate.skip)
	cmd.Flags().StringVar(&f.with, "with", "", "worker of the layout that becomes a control-plane machine")
	cmd.Flags().Lookup("accept-risk").Usage = "name of a risk to accept: lose-machine:LOST"
	names := machineNames(env, &f.operate.cluster.configDir)
	cmd.ValidArgsFunction = names.first
	_ = cmd.RegisterFlagCompletionFunc("with", names.complete) // fails only for an unknown flag
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args[0]) }
	return cmd
}

// run rehearses the replacement with a copy of the configuration, asks, changes the layout, and
// does it. If an earlier run has changed the layout, it continues.
func (f replaceFlags) run(ctx context.Context, lost string) error {
	dir, err := f.operate.cluster.dir()
	if err != nil {
		return err
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return err
	}
	if err := f.operate.cluster.checkID(cfg.Services.Cluster.Common.ClusterID); err != nil {
		return err
	}
	old, inLayout := cfg.FindMachine(lost)
	if err := checkReplacement(cfg, lost, f.with); err != nil {
		return err
	}
	if !inLayout {
		return f.operate.run(ctx, f.what(lost), func(s *session.Session) (operation.Goal, error) {
			s.Lost = lost
			return operation.ReplaceControlPlane(s, lost, f.with), nil
		})
	}
	known := filepath.Join(f.operate.cluster.env.dirs().ClusterDir(cfg.Services.Cluster.Common.ClusterID), "known_hosts")
	if machine.Answers(ctx, session.Endpoint(lost, old, known)) {
		return notDead(lost)
	}
	return f.replace(ctx, dir, lost)
}

func (f replaceFlags) what(lost string) string {
	return fmt.Sprintf("put %s in the place of control-plane machine %s", f.with, lost)
}

// notDead refuses a machine that answers.
func notDead(name string) error {
	return pai.Errorf(pai.CodeRefused, fmt.Sprintf("if %[1]s works, put it into maintenance; run: paictl machine maintain %[1]s\nto replace it, shut it down first, and run the command again", name),
		"%s is not dead: its ssh server answers this host", name)
}

// checkReplacement refuses machines that cannot take each other's place. A lost machine that is not
// in the layout left it in an earlier run, which made the other one a control-plane machine.
func checkReplacement(cfg *config.Config, lost, with string) error {
	old, inLayout := cfg.FindMachine(lost)
	next, known := cfg.FindMachine(with)
	switch {
	case with == "":
		return pai.Errorf(pai.CodeUsage, "name a worker of the layout with --with MACHINE", "no machine takes the place of %s", lost)
	case !known:
		return pai.Errorf(pai.CodeRefused, "add it as a worker first; run: paictl machine add ADDRESS", "%s is not in the layout", with)
	case !cfg.SeveralControlPlanes():
		return pai.Errorf(pai.CodeRefused, "restore the control plane from a backup; see docs/operating.md", "the cluster has one control-plane machine, and another one cannot take over its data")
	case inLayout && !old.IsControlPlane():
		return pai.Errorf(pai.CodeRefused, "remove it, and add another worker; run: paictl machine remove "+lost, "%s is a worker", lost)
	case inLayout && next.IsControlPlane():
		return pai.Errorf(pai.CodeRefused, "name a worker of the layout with --with MACHINE", "%s is a control-plane machine already", with)
	case !inLayout && !next.IsControlPlane():
		return pai.Errorf(pai.CodeNotFound, "to list the machines, run: paictl cluster status", "machine %q not found in the layout, and %s is a worker", lost, with)
	}
	return nil
}

// replace is run for a machine that the layout still has.
func (f replaceFlags) replace(ctx context.Context, dir, lost string) error {
	cluster := f.operate.cluster
	env := cluster.env
	rehearsal, err := newRehearsal(dir, func(dir string) error { return config.ReplaceControlPlane(dir, lost, f.with) })
	if err != nil {
		return err
	}
	defer rehearsal.remove()
	s, err := session.Open(ctx, rehearsal.copy, env.dirs(), env.Progressf)
	if err != nil {
		return err
	}
	defer s.Close()
	s.Lost = lost
	if err := rehearsal.checkPush(ctx, s); err != nil {
		return err
	}
	flags := *f.operate
	rehearsed, err := rehearse(ctx, env, s, operation.ReplaceControlPlane(s, lost, f.with), flags)
	if err != nil || flags.dryRun {
		return err
	}
	if err := cluster.confirm(s, f.what(lost)); err != nil {
		return err
	}
	if err := rehearsal.write(); err != nil {
		return err
	}
	// The configuration of the session is that of the directory from now on.
	s.Config.Dir = dir
	flags.rehearsed = &rehearsed
	err = operate(ctx, env, s, operation.ReplaceControlPlane(s, lost, f.with), flags)
	if err == nil {
		return nil
	}
	next := strings.TrimPrefix(fmt.Sprintf("%s\nto continue, run: paictl machine replace %s --with %s -p %s", pai.NextOf(err), lost, f.with, dir), "\n")
	return &pai.Error{Code: pai.CodeOf(err), Message: fmt.Sprintf("the layout in %s has %s in the place of %s, but perhaps not the cluster", dir, f.with, lost), Next: next, Err: err}
}
