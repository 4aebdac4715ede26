package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/pai"
)

// Main runs paictl with args (without the program name) and returns its exit code.
func Main(ctx context.Context, env *Env, args []string) int {
	root := newRootCommand(env) //nolint:contextcheck // cobra gives the context to the command that runs
	var calls usage
	calls.watch(root)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	err = calls.explain(err)
	if code := exitStatus(0); errors.As(err, &code) {
		return int(code) // the command on the machine has printed its error
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &pai.Error{Code: pai.CodeInterrupted, Message: "interrupted", Next: "to continue, run the same command again", Err: err}
	}
	reportError(env, err)
	return pai.ExitCode(err)
}

func reportError(env *Env, err error) {
	env.Progressf("paictl: %v", err)
	if details := pai.DetailsOf(err); details != "" {
		env.Progressf("  %s", strings.ReplaceAll(details, "\n", "\n  "))
	}
	var e *pai.Error
	if errors.As(err, &e) && e.Next != "" {
		env.Progressf("  → %s", strings.ReplaceAll(e.Next, "\n", "\n    "))
	}
}

func newRootCommand(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "paictl",
		Short:         "Install, operate, and upgrade an AI platform on your own machines",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return env.CheckFormat()
		},
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, err) })
	root.PersistentFlags().StringVarP(&env.Format, "output", "o", "text", "output format: text or json")
	root.PersistentFlags().BoolVar(&env.yes, "yes", false, "answer yes to yes-or-no questions")
	root.AddCommand(
		newMachineCommand(env),
		newJobCommand(env),
		newUserCommand(env), newGroupCommand(env), newStorageCommand(env), newVCCommand(env),
		newImageCommand(env),
		newUpCommand(env), newDownCommand(env), newClusterCommand(env), newServiceCommand(env), newUpgradeCommand(env),
		newCheckCommand(env),
		newReleaseCommand(env),
		newConfigCommand(env),
	)
	root.InitDefaultCompletionCmd() // writes to the output that is set now
	addHelp(root)
	completeFlags(root)
	return root
}

// group is a command that only has subcommands.
func group(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	cmd.AddCommand(subcommands...)
	return cmd
}

// usageError is a mistake in how cmd was called.
func usageError(cmd *cobra.Command, err error) error {
	return pai.Errorf(pai.CodeUsage, fmt.Sprintf("for its usage, run: %s --help", cmd.CommandPath()), "%w", err)
}
