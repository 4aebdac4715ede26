package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/nspawn"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

func newMachineCommand(env *Env) *cobra.Command {
	return group("machine", "List, add, maintain, replace, and remove the machines of a cluster",
		newMachineListCommand(env), newMachineShellCommand(env), newMachineAddCommand(env), newMachineMaintainCommand(env),
		newMachineReturnCommand(env), newMachineRemoveCommand(env), newMachineReplaceCommand(env), newMachinePruneCommand(env), newMachineUpCommand(env), newMachineDownCommand(env),
		hiddenMachineCommand(env, "restart NAME", "Reboot a local machine", nspawn.Local.Restart),
		hiddenMachineCommand(env, "kill NAME", "Stop a local machine like a power failure", nspawn.Local.Kill))
}

// machineEntry is a machine in the output of `machine list`.
type machineEntry struct {
	Name    string `json:"name"`
	Role    string `json:"role,omitempty"`
	Address string `json:"address"`
	Port    int    `json:"port"`
	User    string `json:"user"`
	State   string `json:"state"` // running, stopped (local machines only), or unreachable
	// Maintenance is set if the machine is in maintenance.
	Maintenance *pai.Maintenance `json:"maintenance,omitempty"`

	endpoint machine.Endpoint
}

// machines lists the machines of a configuration, or the local ones.
func (e *Env) machines(configDir string) ([]machineEntry, error) {
	if configDir == "" {
		return e.localMachines()
	}
	cfg, err := config.Load(configDir)
	if err != nil {
		return nil, err
	}
	known := filepath.Join(e.dirs().ClusterDir(cfg.Services.Cluster.Common.ClusterID), "known_hosts")
	var list []machineEntry
	for _, m := range cfg.Layout.MachineList {
		list = append(list, machineEntry{Name: m.Hostname, Role: m.Role, Address: m.HostIP, Port: m.SSHPort, User: m.Username,
			endpoint: session.Endpoint(m.Hostname, m, known)})
	}
	return list, nil
}

func (e *Env) local() nspawn.Local {
	return nspawn.Local{StateDir: e.StateDir, CacheDir: e.CacheDir, Progress: e.Progressf}
}

func (e *Env) localMachines() ([]machineEntry, error) {
	made, err := e.local().List()
	if err != nil {
		return nil, err
	}
	list := make([]machineEntry, 0, len(made))
	for _, m := range made {
		list = append(list, machineEntry{Name: m.Name, Address: m.Address, Port: m.Port, User: m.User, State: m.State, endpoint: m.Endpoint()})
	}
	return list, nil
}

func newMachineListCommand(env *Env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List machines and their states",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := env.machines(dir)
			if err != nil {
				return err
			}
			probe(cmd.Context(), list)
			env.addMaintenance(cmd.Context(), dir, list)
			return env.Show(list, func(p *ui.Page) { writeMachines(p, list) })
		},
	}
	addMachinesOf(cmd, &dir)
	return cmd
}

// addMachinesOf adds -p to a command.
func addMachinesOf(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVarP(dir, "config-path", "p", "", "directory of the configuration that lists the machines (default: the local machines of this host)")
}

// probe sets the state of the machines that have none.
func probe(ctx context.Context, list []machineEntry) {
	var wg sync.WaitGroup
	for i := range list {
		m := &list[i]
		if m.State != "" {
			continue
		}
		wg.Go(func() {
			m.State = "unreachable"
			if machine.Answers(ctx, m.endpoint) {
				m.State = nspawn.StateRunning
			}
		})
	}
	wg.Wait()
}

func writeMachines(p *ui.Page, list []machineEntry) {
	if len(list) == 0 {
		p.Linef("No local machines. To list the machines of a configuration, pass -p DIR. To create PAI on this host, run: paictl up")
		return
	}
	p.Row("NAME", "ROLE", "ADDRESS", "USER", "STATE")
	for _, m := range list {
		state := m.State
		if m.Maintenance != nil {
			state += ", " + m.Maintenance.String()
		}
		p.Row(m.Name, m.Role, net.JoinHostPort(m.Address, strconv.Itoa(m.Port)), m.User, state)
	}
}

func newMachineUpCommand(env *Env) *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use:    "up",
		Short:  "Create local machines without PAI, and start stopped ones",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := env.local().Up(cmd.Context(), count); err != nil {
				return err
			}
			list, err := env.localMachines()
			if err != nil {
				return err
			}
			return env.Show(list, func(p *ui.Page) { writeMachines(p, list) })
		},
	}
	cmd.Flags().IntVar(&count, "count", 1, "number of machines")
	return cmd
}

func newMachineDownCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:    "down",
		Short:  "Delete the local machines with all their data",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := env.localMachines()
			if err == nil && len(list) > 0 {
				err = env.confirm(fmt.Sprintf("This deletes %d local machines and all their data", len(list)))
			}
			if refused := new(pai.Error); errors.As(err, &refused) {
				return err
			}
			// Down also removes the remains of machines that cannot be listed.
			return env.local().Down(cmd.Context())
		},
	}
}

// hiddenMachineCommand is a hidden command for one local machine.
func hiddenMachineCommand(env *Env, use, short string, do func(nspawn.Local, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Hidden: true,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: machineNames(env, new(string)).first,
		RunE:              func(cmd *cobra.Command, args []string) error { return do(env.local(), cmd.Context(), args[0]) },
	}
}
