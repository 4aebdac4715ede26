package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/nspawn"
	"pai.dev/pai/internal/pai"
)

func newMachineCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "machine",
		Short: "The machines of a cluster, or those that paictl made on this host",
	}
	cmd.AddCommand(
		newMachineListCommand(env), newMachineShellCommand(env),
		newMachineUpCommand(env), newMachineDownCommand(env),
		newMachineRestartCommand(env), newMachineKillCommand(env),
	)
	return cmd
}

// machineEntry is a machine as `machine list` shows it.
type machineEntry struct {
	Name    string `json:"name"`
	Role    string `json:"role,omitempty"`
	Address string `json:"address"`
	Port    int    `json:"port"`
	User    string `json:"user"`
	State   string `json:"state"` // running, stopped (local machines only), or unreachable

	target machine.Endpoint
}

// machines are those of a configuration's layout, or the local ones.
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
			target: machine.Endpoint{Name: m.Hostname, Address: m.HostIP, Port: m.SSHPort, User: m.Username, KeyFile: m.KeyfilePath, Password: m.Password.Reveal(), KnownHosts: known}})
	}
	return list, nil
}

func (e *Env) localMachines() ([]machineEntry, error) {
	made, err := e.local().List()
	if err != nil {
		return nil, err
	}
	list := make([]machineEntry, 0, len(made))
	for _, m := range made {
		list = append(list, machineEntry{Name: m.Name, Address: m.Address, Port: m.Port, User: m.User, State: m.State, target: m.Endpoint()})
	}
	return list, nil
}

func newMachineListCommand(env *Env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the machines and whether they run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := env.machines(dir)
			if err != nil {
				return err
			}
			probe(cmd.Context(), list)
			return env.Show(list, func(p *ui.Page) { showMachines(p, list) })
		},
	}
	addMachinesOf(cmd, &dir)
	return cmd
}

// addMachinesOf gives a command -p.
func addMachinesOf(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVarP(dir, "config-path", "p", "", "folder of a configuration whose machines are meant (default: this host's local machines)")
}

// probe finds out which machines of unknown state answer.
func probe(ctx context.Context, list []machineEntry) {
	var wg sync.WaitGroup
	for i := range list {
		m := &list[i]
		if m.State != "" {
			continue
		}
		wg.Go(func() {
			m.State = "unreachable"
			if answersSSH(ctx, net.JoinHostPort(m.Address, strconv.Itoa(m.Port))) {
				m.State = nspawn.StateRunning
			}
		})
	}
	wg.Wait()
}

// answersSSH reports whether an ssh server, and not just anything, answers.
func answersSSH(ctx context.Context, address string) bool {
	const patience = 3 * time.Second
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	greeting := make([]byte, 4)
	_, err = io.ReadFull(conn, greeting)
	return err == nil && string(greeting) == "SSH-" // RFC 4253, section 4.2
}

func showMachines(p *ui.Page, list []machineEntry) {
	if len(list) == 0 {
		p.Linef("No local machines. To create PAI on this host, run: paictl up")
		return
	}
	p.Row("NAME", "ROLE", "ADDRESS", "USER", "STATE")
	for _, m := range list {
		p.Row(m.Name, m.Role, net.JoinHostPort(m.Address, strconv.Itoa(m.Port)), m.User, m.State)
	}
}

func newMachineShellCommand(env *Env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "shell NAME [-- COMMAND [ARGUMENT…]]",
		Short: "Log in to a machine, or run one command on it",
		Long: `Log in to a machine, or run one command on it and end with its exit code.
A single COMMAND is a line for the machine's shell; with arguments, it is a
program, and the arguments reach it as they are.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := env.machines(dir)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(m machineEntry) bool { return m.Name == args[0] })
			if i < 0 {
				return pai.Errorf(pai.CodeNotFound, "paictl machine list shows the machines there are; -p DIR names another configuration", "there is no machine %q", args[0])
			}
			return machineShell(cmd.Context(), env, list[i].target, commandLine(args[1:]))
		},
	}
	addMachinesOf(cmd, &dir)
	return cmd
}

// commandLine is the words as one line for a shell.
func commandLine(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = machine.Quote(w)
	}
	return strings.Join(quoted, " ")
}

// exitStatus is the error of a command that ended with a code of its own,
// which becomes paictl's.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("it ended with code %d", int(s)) }

func machineShell(ctx context.Context, env *Env, target machine.Endpoint, command string) error {
	shell := machine.Shell{Command: command, In: env.In, Out: env.Out, Err: env.Err}
	if in, ok := env.In.(*os.File); ok && command == "" && env.Interactive {
		restore, terminal, err := rawTerminal(ctx, in)
		if err != nil {
			return err
		}
		defer restore()
		shell.Terminal = terminal
	}
	code, err := shell.Run(ctx, target)
	if err != nil {
		return err
	}
	if code != 0 {
		return exitStatus(code)
	}
	return nil
}

// rawTerminal makes the terminal pass every key on as it is.
func rawTerminal(ctx context.Context, in *os.File) (restore func(), t *machine.Terminal, err error) {
	fd := int(in.Fd())
	width, height, err := term.GetSize(fd)
	if err != nil {
		return nil, nil, fmt.Errorf("find the terminal's size: %w", err)
	}
	old, err := term.MakeRaw(fd)
	if err != nil {
		return nil, nil, fmt.Errorf("prepare the terminal: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	sizes := make(chan [2]int)
	go func() {
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			w, h, err := term.GetSize(fd)
			if err != nil {
				continue
			}
			select {
			case sizes <- [2]int{w, h}:
			case <-ctx.Done():
				return
			}
		}
	}()
	restore = func() {
		cancel()
		signal.Stop(changed)
		_ = term.Restore(fd, old) // nothing can be done about a terminal that is gone
	}
	name := os.Getenv("TERM")
	if name == "" {
		name = "xterm"
	}
	return restore, &machine.Terminal{Type: name, Width: width, Height: height, Resized: sizes}, nil
}

func newMachineUpCommand(env *Env) *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use:    "up",
		Short:  "Make local machines without PAI on them, and start those that are stopped",
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
			return env.Show(list, func(p *ui.Page) { showMachines(p, list) })
		},
	}
	cmd.Flags().IntVar(&count, "count", 1, "how many")
	return cmd
}

func newMachineDownCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:    "down",
		Short:  "Remove the local machines with everything on them",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := env.localMachines()
			if err == nil && len(list) > 0 {
				err = env.confirm(fmt.Sprintf("This deletes %d local machines and all that is on them. Go on?", len(list)))
			}
			if refused := new(pai.Error); errors.As(err, &refused) {
				return err
			}
			// Machines that cannot be listed are remains, which Down is for, too.
			return env.local().Down(cmd.Context())
		},
	}
}

func newMachineRestartCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:    "restart NAME",
		Short:  "Reboot a local machine",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.local().Restart(cmd.Context(), args[0])
		},
	}
}

func newMachineKillCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:    "kill NAME",
		Short:  "Stop a local machine as a power cut does; up starts it again",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.local().Kill(cmd.Context(), args[0])
		},
	}
}
