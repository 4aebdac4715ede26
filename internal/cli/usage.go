package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/pai"
)

// usage tells mistakes in how paictl was called, which cobra reports as plain
// errors before a command begins, from failures of a command that has begun.
type usage struct{ begun bool }

// watch looks at every command below cmd: it notes when one begins, and lets
// those that only group others refuse a word that they do not know.
func (u *usage) watch(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			u.begun = true
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
	return pai.Errorf(pai.CodeUsage, "see "+cmd.CommandPath()+" --help", "%s", message)
}

// explain gives an error of cobra's own its code and what to do next.
func (u *usage) explain(err error) error {
	var known *pai.Error
	if u.begun || errors.As(err, &known) {
		return err
	}
	return pai.Errorf(pai.CodeUsage, "add --help to see how the command is called", "%w", err)
}
