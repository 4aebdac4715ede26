package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/pai"
)

// usage distinguishes mistakes in how paictl was called, which cobra reports as
// plain errors before a command runs, from failures of a running command.
type usage struct{ started bool }

// watch notes when a command at or below cmd starts, and makes commands that
// only have subcommands refuse an unknown one.
func (u *usage) watch(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			u.started = true
			return run(cmd, args)
		}
	} else if cmd.HasSubCommands() {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = onlySubcommands
	}
	for _, c := range cmd.Commands() {
		u.watch(c)
	}
}

func onlySubcommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	message := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return usageError(cmd, errors.New(message))
}

// explain adds the code and the next step to an error that cobra returned
// before a command started.
func (u *usage) explain(err error) error {
	var known *pai.Error
	if u.started || errors.As(err, &known) {
		return err
	}
	return pai.Errorf(pai.CodeUsage, "for the usage of a command, add --help", "%w", err)
}
