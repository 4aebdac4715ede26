package cli

import (
	"embed"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/check"
)

// helpTexts holds the long help of the commands: a file for each noun, with a
// section for each command, and its examples after a line "Examples:".
//
//go:embed help/*.txt
var helpTexts embed.FS

// addHelp gives root and the commands below it their long help and examples.
func addHelp(root *cobra.Command) {
	sections := map[string]string{}
	files, _ := helpTexts.ReadDir("help") // embedded: it cannot fail
	for _, f := range files {
		data, _ := helpTexts.ReadFile("help/" + f.Name())
		for _, s := range txtar.Parse(data).Files {
			sections[s.Name] = string(s.Data)
		}
	}
	eachCommand(root, func(cmd *cobra.Command) {
		text, ok := sections[cmd.CommandPath()]
		if !ok {
			return
		}
		long, example, _ := strings.Cut(text, "Examples:\n")
		cmd.Long, cmd.Example = strings.TrimSpace(long), strings.TrimRight(example, "\n")
		if cmd.Flag("skip-check") != nil {
			cmd.Long += "\n\nChecks, by the names that --skip-check takes:\n"
			for _, c := range check.All() {
				cmd.Long += fmt.Sprintf("\n  %-18s %s", c.ID, c.Title)
			}
		}
	})
}

// eachCommand calls visit for cmd and all commands below it.
func eachCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		eachCommand(c, visit)
	}
}
