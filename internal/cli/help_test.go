package cli

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ownCommands calls visit for the commands that are not made by cobra.
func ownCommands(visit func(*cobra.Command)) {
	eachCommand(newRootCommand(&Env{}), func(cmd *cobra.Command) {
		if !strings.HasPrefix(cmd.CommandPath(), "paictl completion") && cmd.Name() != "help" {
			visit(cmd)
		}
	})
}

// Short is a verb and an object, Long and Example exist, and examples can be
// copied.
func TestHelpHasItsForm(t *testing.T) {
	t.Parallel()
	clause := regexp.MustCompile(`\b(that|which)\b`)
	ownCommands(func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if n := len([]rune(cmd.Short)); n == 0 || n > 70 {
			t.Errorf("%s: Short has %d characters, want 1 to 70: %s", path, n, cmd.Short)
		}
		if strings.HasSuffix(cmd.Short, ".") || clause.MatchString(cmd.Short) || !unicode.IsUpper([]rune(cmd.Short)[0]) {
			t.Errorf("%s: Short is no verb and object without that, which, and period: %s", path, cmd.Short)
		}
		if cmd.Long == "" || !strings.HasSuffix(strings.Split(cmd.Long, "\n\nChecks,")[0], ".") {
			t.Errorf("%s: Long is missing or ends without a period: %q", path, cmd.Long)
		}
		if cmd.Runnable() && cmd.Example == "" {
			t.Errorf("%s: Example is missing", path)
		}
		for line := range strings.Lines(cmd.Long + "\n" + cmd.Example) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 90 {
				t.Errorf("%s: a line of its help has %d characters: %s", path, n, line)
			}
		}
		for line := range strings.Lines(cmd.Example) {
			if line = strings.TrimRight(line, "\n"); line != "" && !strings.HasPrefix(line, "  # ") && !strings.HasPrefix(line, "  "+path) && path != "paictl" {
				t.Errorf("%s: an example is neither a comment nor the command: %s", path, line)
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") || unicode.IsUpper([]rune(f.Usage)[0]) && !unicode.IsUpper([]rune(f.Usage)[1]) {
				t.Errorf("%s --%s: usage is no noun phrase or imperative in lowercase without a period: %s", path, f.Name, f.Usage)
			}
		})
	})
}

// Every section of the help belongs to a command.
func TestHelpSectionsNameCommands(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	ownCommands(func(cmd *cobra.Command) { known[cmd.CommandPath()] = true })
	files, err := helpTexts.ReadDir("help")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := helpTexts.ReadFile("help/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		archive := txtar.Parse(data)
		if len(archive.Comment) > 0 {
			t.Errorf("%s: text before the first section: %s", f.Name(), archive.Comment)
		}
		for _, s := range archive.Files {
			if !known[s.Name] {
				t.Errorf("%s: section %q names no command", f.Name(), s.Name)
			}
		}
	}
}
