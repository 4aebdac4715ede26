package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"pai.dev/pai/internal/golden"
)

// docs/commands.md is made from the commands.
func TestCommandReference(t *testing.T) {
	t.Parallel()
	golden.Check(t, "../../docs/commands.md", reference(newRootCommand(&Env{})))
}

// reference is the help of all commands as Markdown.
func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\n<!-- Made from the commands by go test ./internal/cli -run Reference -update -->\n\n")
	b.WriteString(root.Long + "\n\nThese flags work with every command:\n\n" + flagList(root.PersistentFlags()))
	for _, noun := range root.Commands() {
		if noun.Hidden || noun.Name() == "help" {
			continue
		}
		eachCommand(noun, func(cmd *cobra.Command) {
			if !cmd.Hidden {
				b.WriteString(section(cmd))
			}
		})
	}
	return b.String()
}

func section(cmd *cobra.Command) string {
	level := strings.Repeat("#", strings.Count(cmd.CommandPath(), " ")+1)
	text := fmt.Sprintf("\n%s %s\n", level, cmd.CommandPath())
	if cmd.Runnable() {
		text += fmt.Sprintf("\n```\n%s\n```\n", cmd.UseLine())
	}
	long, list, _ := strings.Cut(cmd.Long, "\n\nChecks, ")
	if strings.HasPrefix(cmd.CommandPath(), "paictl completion ") {
		long, _, _ = strings.Cut(long, "\n\n") // the rest is how to load it, in the layout of a terminal
	}
	text += "\n" + strings.TrimSpace(long) + "\n"
	if list != "" {
		text += "\nThe names that `--skip-check` takes are in [checks.md](checks.md).\n"
	}
	if cmd.Example != "" {
		text += fmt.Sprintf("\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
	}
	if flags := flagList(cmd.LocalFlags()); flags != "" {
		text += "\n" + flags
	}
	return text
}

func flagList(flags *pflag.FlagSet) string {
	list := ""
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			name += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		list += fmt.Sprintf("- `%s`: %s\n", name, usage)
	})
	return list
}
