package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

func newConfigDiffCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff [REVISION [REVISION]]",
		Short: "Show what differs between the folder and the cluster's revisions",
		Long: `Show what differs between two configurations, by meaning: defaults are filled in,
and neither order nor comments nor the schema they are written in count. Secrets
are masked.

  paictl config diff         the newest revision, and the folder
  paictl config diff 3       revision 3, and the folder
  paictl config diff 3 5     revision 3, and revision 5`,
		Args: cobra.MaximumNArgs(2),
	}
	t := addTarget(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var numbers []int
		for _, a := range args {
			n, err := revisionNumber(a)
			if err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
		return withControlPlane(cmd.Context(), t, func(ctx context.Context, s *session.Session) error {
			return diffConfig(ctx, env, s, numbers)
		})
	}
	return cmd
}

func revisionNumber(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, pai.Errorf(pai.CodeUsage, "see their numbers with: paictl config history", "%q is not the number of a revision", text)
	}
	return n, nil
}

func diffConfig(ctx context.Context, env *Env, s *session.Session, numbers []int) error {
	store, err := s.Revisions()
	if err != nil {
		return err
	}
	sides := make([]*config.Config, 0, 2)
	for _, n := range numbers {
		r, err := store.Get(ctx, n)
		if err != nil {
			return err
		}
		c, err := configOf(r)
		if err != nil {
			return err
		}
		sides = append(sides, c)
	}
	if len(numbers) == 0 {
		newest, err := store.Newest(ctx)
		if err != nil {
			return err
		}
		if newest == nil {
			return pai.Errorf(pai.CodeNotFound, "push one with: paictl config push", "the cluster has no revision of its configuration yet")
		}
		c, err := configOf(*newest)
		if err != nil {
			return err
		}
		sides = append(sides, c)
	}
	if len(sides) == 1 {
		sides = append(sides, s.Config)
	}
	list, err := differences(sides[0], sides[1])
	if err != nil {
		return err
	}
	return env.Show(list, func(p *ui.Page) { writeDifferences(p, list) })
}

// configOf reads a revision's files as a configuration.
func configOf(r revision.Revision) (*config.Config, error) {
	c, report := config.FromFiles(fmt.Sprintf("revision-%d", r.Number), r.Files)
	if len(report.Problems) > 0 {
		return nil, pai.Errorf(pai.CodeInvalid, "compare with another revision: paictl config history",
			"revision %d is not valid for this paictl:\n%w", r.Number, report.Problems)
	}
	return c, nil
}

// differences is config.Diff; the list is never null.
func differences(before, after *config.Config) ([]config.Difference, error) {
	list, err := config.Diff(before, after)
	return append([]config.Difference{}, list...), err
}

func writeDifferences(p *ui.Page, list []config.Difference) {
	if len(list) == 0 {
		p.Linef("No differences.")
	}
	for _, d := range list {
		switch {
		case d.Before == "":
			p.Linef("+ %s: %s", d.Key, d.After)
		case d.After == "":
			p.Linef("- %s: %s", d.Key, d.Before)
		case d.Before == d.After: // secrets, both masked
			p.Linef("~ %s: changed (%s)", d.Key, d.After)
		default:
			p.Linef("~ %s: %s → %s", d.Key, d.Before, d.After)
		}
	}
}
