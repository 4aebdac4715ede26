package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/check"
	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

func newCheckCommand(env *Env) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find everything that is wrong with a cluster, or in the way of an upgrade",
		Long: `Find everything that is wrong with a cluster, or with --to in the way of an
upgrade to a release, in one run, each with what to do about it. Nothing is
changed. Ends with code 1 when a check failed or could not be observed;
warnings are nobody's failure.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.Flags().StringVar(&to, "to", "", "release that is to be upgraded to (default: the one that the configuration names)")
	skip := addSkipCheck(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := check.ValidateIDs(*skip); err != nil {
			return err
		}
		if to != "" {
			if _, err := session.FindRelease(to); err != nil {
				return err
			}
		}
		s, err := t.open(cmd.Context())
		if err != nil {
			return err
		}
		defer s.Close()
		results, err := operation.Check(cmd.Context(), s, pai.Version(to), *skip)
		if err != nil {
			return err
		}
		if err := env.Show(results, func(p *ui.Page) { writeResults(p, results) }); err != nil {
			return err
		}
		return foundWrong(results)
	}
	return cmd
}

// addSkipCheck gives a command --skip-check, and its help the list of names.
func addSkipCheck(cmd *cobra.Command) *[]string {
	skip := &[]string{}
	cmd.Flags().StringSliceVar(skip, "skip-check", nil, "leave out a check, by name; may be given several times")
	// The only error is that of a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("skip-check", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var all []cobra.Completion
		for _, c := range check.All() {
			all = append(all, cobra.CompletionWithDesc(c.ID, c.Title))
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	})
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	var list strings.Builder
	for _, c := range check.All() {
		fmt.Fprintf(&list, "\n  %-18s %s", c.ID, c.Title)
	}
	cmd.Long += "\n\nThe checks, by the names that --skip-check takes:\n" + list.String()
	return skip
}

// foundWrong is what `paictl check` ends with.
func foundWrong(results []check.Result) error {
	count := map[check.Outcome]int{}
	for _, r := range results {
		count[r.Outcome]++
	}
	bad := count[check.Failed] + count[check.Unknown]
	if bad == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeFailed, "mend what is listed and check again", "%d findings: %d failed, %d could not be observed",
		bad, count[check.Failed], count[check.Unknown])
}

// writeResults writes the results in groups, the worst first, each with its fix
// below it.
func writeResults(p *ui.Page, results []check.Result) {
	for _, group := range []check.Outcome{check.Failed, check.Unknown, check.Warning, check.OK} {
		of := slices.DeleteFunc(slices.Clone(results), func(r check.Result) bool { return r.Outcome != group })
		if len(of) == 0 {
			continue
		}
		p.Linef("%s (%d)", group, len(of))
		for _, r := range of {
			p.Row("  "+r.ID, r.Target, oneLine(r.Found))
			if r.Fix != "" {
				p.Linef("  \t\t→ %s", oneLine(r.Fix))
			}
		}
		p.Linef("")
	}
}

// oneLine keeps a value within its row of a table.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
