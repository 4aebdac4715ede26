package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

func newMachineShellCommand(env *Env) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:               "shell NAME [-- COMMAND [ARGUMENT…]]",
		Short:             "Log in to a machine, or run one command on it",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: machineNames(env, &dir).first,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := env.machines(dir)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(m machineEntry) bool { return m.Name == args[0] })
			if i < 0 {
				return pai.Errorf(pai.CodeNotFound, "name another configuration with -p DIR; or list the machines, run: paictl machine list", "machine %q not found", args[0])
			}
			return machineShell(cmd.Context(), env, list[i].endpoint, commandLine(args[1:]))
		},
	}
	addMachinesOf(cmd, &dir)
	return cmd
}

// commandLine joins words to a line for a shell. A single word is a line already.
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

// exitStatus is the exit code of a command on a machine. It becomes the exit
// code of paictl.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

func machineShell(ctx context.Context, env *Env, to machine.Endpoint, command string) error {
	shell := machine.Shell{Command: command, In: env.In, Out: env.Out, Err: env.Err}
	if in, ok := env.In.(*os.File); ok && command == "" && env.Interactive {
		restore, terminal, err := rawTerminal(ctx, in)
		if err != nil {
			return err
		}
		defer restore()
		shell.Terminal = terminal
	}
	code, err := shell.Run(ctx, to)
	if err == nil && code != 0 {
		err = exitStatus(code)
	}
	return err
}

// rawTerminal makes the terminal pass every key to the machine.
func rawTerminal(ctx context.Context, in *os.File) (restore func(), t *machine.Terminal, err error) {
	fd := int(in.Fd())
	width, height, err := term.GetSize(fd)
	if err != nil {
		return nil, nil, fmt.Errorf("find the size of the terminal: %w", err)
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
			if w, h, err := term.GetSize(fd); err == nil {
				select {
				case sizes <- [2]int{w, h}:
				case <-ctx.Done():
				}
			}
		}
	}()
	restore = func() {
		cancel()
		signal.Stop(changed)
		_ = term.Restore(fd, old) // fails only for a terminal that was closed
	}
	return restore, &machine.Terminal{Type: cmp.Or(os.Getenv("TERM"), "xterm"), Width: width, Height: height, Resized: sizes}, nil
}
