package cli

import (
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
	var skip []string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find problems of a cluster, and what blocks an upgrade",
		Args:  cobra.NoArgs,
	}
	cluster := addClusterFlags(env, cmd)
	cmd.Flags().StringVar(&to, "to", "", "release to check an upgrade to (default: the release that the configuration names)")
	addSkipCheck(cmd, &skip)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if to != "" {
			if _, err := session.FindRelease(to); err != nil {
				return err
			}
		}
		return cluster.withSession(cmd.Context(), func(s *session.Session) error {
			results, err := operation.Check(cmd.Context(), s, pai.Release(to), skip)
			if err != nil {
				return err
			}
			if err := env.Show(results, func(p *ui.Page) { writeResults(p, results) }); err != nil {
				return err
			}
			return checkError(results)
		})
	}
	return cmd
}

// addSkipCheck adds --skip-check to a command. addHelp lists the checks.
func addSkipCheck(cmd *cobra.Command, skip *[]string) {
	cmd.Flags().StringSliceVar(skip, "skip-check", nil, "name of a check to skip; repeat the flag for several")
	cmd.PreRunE = func(*cobra.Command, []string) error { return check.ValidateIDs(*skip) }
}

// checkError is the error of `paictl check`: checks that failed or could not
// be observed.
func checkError(results []check.Result) error {
	count := map[check.Outcome]int{}
	for _, r := range results {
		count[r.Outcome]++
	}
	bad := count[check.Failed] + count[check.Unknown]
	if bad == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeFailed, "fix the findings and check again", "%d findings: %d failed, %d could not be observed",
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
