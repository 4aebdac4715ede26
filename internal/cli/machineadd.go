package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// addFlags are the flags of `machine add`.
type addFlags struct {
	operate        *operateFlags
	hostKeys       *hostKeyFlags
	user, key, sku string
	port           int
	controlPlane   bool
}

func newMachineAddCommand(env *Env) *cobra.Command {
	var f addFlags
	cmd := &cobra.Command{
		Use:   "add ADDRESS…",
		Short: "Add machines to the layout and the cluster",
		Args:  cobra.MinimumNArgs(1),
	}
	f.operate = addOperateFlags(env, cmd)
	addParallelMachines(cmd, f.operate)
	addSkipCheck(cmd, &f.operate.skip)
	f.hostKeys = addHostKeyFlags(cmd)
	cmd.Flags().StringVar(&f.user, "user", "", "user to log in as (default: that of the machines of the layout)")
	cmd.Flags().StringVar(&f.key, "key", "", "private SSH key (default: that of the machines of the layout)")
	cmd.Flags().IntVar(&f.port, "port", 0, "port of sshd (default: that of the machines of the layout)")
	cmd.Flags().StringVar(&f.sku, "sku", "", "machine-sku of the machines (default: the one with their hardware, or a new one)")
	cmd.Flags().BoolVar(&f.controlPlane, "control-plane", false, "make them control-plane machines; a cluster has one, three, or five")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) }
	return cmd
}

// run finds the machines, rehearses the boot with a copy of the configuration that has them,
// asks, writes them into the layout, and boots.
func (f addFlags) run(ctx context.Context, addresses []string) error {
	cluster := f.operate.cluster
	env := cluster.env
	dir, err := cluster.dir()
	if err != nil {
		return err
	}
	cfg, err := config.Load(dir)
	if err != nil {
		return err
	}
	if err := cluster.checkID(cfg.Services.Cluster.Common.ClusterID); err != nil {
		return err
	}
	found, add, err := f.find(ctx, dir, cfg, addresses)
	if err != nil {
		return err
	}
	rehearsal, err := newRehearsal(dir, func(dir string) error { return config.AddMachines(dir, add) })
	if err != nil {
		return err
	}
	defer rehearsal.remove()
	s, err := session.Open(ctx, rehearsal.copy, env.dirs(), env.Progressf)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := rehearsal.checkPush(ctx, s); err != nil {
		return err
	}
	flags := *f.operate
	flags.added = addedMachines(found, add)
	rehearsed, err := rehearse(ctx, env, s, operation.Bootup(s), flags)
	if err != nil || flags.dryRun {
		return err
	}
	names := strings.Join(add.Names(), ", ")
	if err := cluster.confirm(s, fmt.Sprintf("add %s to the layout and boot Kubernetes there", names)); err != nil {
		return err
	}
	if err := rehearsal.write(); err != nil {
		return err
	}
	// The configuration of the session is that of the directory from now on.
	s.Config.Dir = dir
	flags.rehearsed = &rehearsed
	return unfinishedAddition(operate(ctx, env, s, operation.Bootup(s), flags), dir, names, f.controlPlane)
}

// rehearse makes and shows the plan of a goal, and refuses what would be refused later. It changes
// nothing.
func rehearse(ctx context.Context, env *Env, s *session.Session, goal operation.Goal, f operateFlags) (plan.Plan, error) {
	view := ui.NewView(&env.Console)
	defer view.Close() // before the question
	o := &rehearsing{observer: observer{View: view, env: env, session: s, flags: f}}
	_, err := operation.Run(ctx, s, goal, operation.RunOptions{Accept: f.accept, SkipChecks: f.skip, DryRun: f.dryRun, Rehearsal: true,
		ParallelMachines: int(f.machines), Observer: o})
	return o.plan, err
}

// rehearsing shows a plan and keeps it.
type rehearsing struct {
	observer
	plan plan.Plan
}

// ShowPlan shows a plan.
func (r *rehearsing) ShowPlan(ctx context.Context, p operation.Preview) error {
	r.plan = p.Plan
	return r.observer.ShowPlan(ctx, p)
}

// sameAsRehearsed refuses a plan that is not the one that the operator confirmed.
func sameAsRehearsed(shown, now plan.Plan) error {
	changes := plan.StepChanges(shown.Steps, now.Steps)
	if len(changes) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, "", "the cluster changed after the plan was shown, and no step was done:\n  %s", strings.Join(changes, "\n  "))
}

// unfinishedAddition says of an error that the machines are in the layout, and how to continue.
func unfinishedAddition(err error, dir, names string, controlPlane bool) error {
	if err == nil {
		return nil
	}
	instead := "to take a machine out again, run: paictl machine remove NAME -p " + dir
	if controlPlane { // the others already count on its vote
		instead = "to put a worker in the place of one that cannot join, shut that one down and run: paictl machine replace NAME --with WORKER -p " + dir
	}
	next := fmt.Sprintf("%s\nto continue, run: paictl cluster k8s-bootup -p %s\n%s", pai.NextOf(err), dir, instead)
	return &pai.Error{Code: pai.CodeOf(err), Message: fmt.Sprintf("%s: added to the layout in %s, but perhaps not to the cluster", names, dir),
		Next: strings.TrimPrefix(next, "\n"), Err: err}
}

// addedMachine is a machine that `machine add` found.
type addedMachine struct {
	generatedMachine
	Address string `json:"address"`
	NewSKU  bool   `json:"newSku"` // the layout gets its machine-sku
}

func addedMachines(found []config.FoundMachine, add config.Additions) []addedMachine {
	var all []addedMachine
	for i, m := range add.Machines {
		_, isNew := add.SKUs[m.MachineType]
		all = append(all, addedMachine{describeFound(m, found[i]), m.HostIP, isNew})
	}
	return all
}

// writeAdded writes the machines that a plan adds.
func writeAdded(page *ui.Page, added []addedMachine) {
	for _, m := range added {
		kind := m.SKU
		if m.NewSKU {
			kind += " (new)"
		}
		page.Linef("Adds %s (%s): %s, %s", m.Name, m.Address, kind, m.OS)
	}
}
