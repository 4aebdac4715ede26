package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/pai"
)

// Main runs paictl with args (without the program's name) and returns its exit code.
func Main(ctx context.Context, env *Env, args []string) int {
	root := newRootCommand(env)
	var calls usage
	calls.watch(root)
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	err = calls.explain(err)
	if code := exitStatus(0); errors.As(err, &code) {
		return int(code) // the command that ran on the machine has said why
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &pai.Error{Code: pai.CodeInterrupted, Message: "interrupted", Next: "run the same command again: it goes on where it stopped", Err: err}
	}
	reportError(env, err)
	return pai.ExitCode(err)
}

func reportError(env *Env, err error) {
	fmt.Fprintf(env.Err, "paictl: %v\n", err)
	var e *pai.Error
	if errors.As(err, &e) && e.Next != "" {
		fmt.Fprintf(env.Err, "  → %s\n", strings.ReplaceAll(e.Next, "\n", "\n    "))
	}
}

func newRootCommand(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "paictl",
		Short:         "Build, run and upgrade an AI platform on machines you own, while its jobs keep running",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return env.CheckFormat()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return pai.Errorf(pai.CodeUsage, "see "+cmd.CommandPath()+" --help", "%w", err)
	})
	root.PersistentFlags().StringVarP(&env.Format, "output", "o", "text", "output format: text or json")
	root.PersistentFlags().BoolVar(&env.yes, "yes", false, "answer yes to yes-or-no questions")
	root.AddCommand(
		newMachineCommand(env),
		newJobCommand(env),
		newImageCommand(env),
		newUpCommand(env), newDownCommand(env), newClusterCommand(env), newServiceCommand(env), newUpgradeCommand(env),
		newCheckCommand(env),
		newReleaseCommand(env),
		newConfigCommand(env),
	)
	return root
}
