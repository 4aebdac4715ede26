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
		Short: "Compare the configuration with a revision, or two revisions",
		Args:  cobra.MaximumNArgs(2),
	}
	cluster := addClusterFlags(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var numbers []int
		for _, a := range args {
			n, err := revisionNumber(a)
			if err != nil {
				return err
			}
			numbers = append(numbers, n)
		}
		return cluster.withControlPlane(cmd.Context(), func(s *session.Session) error {
			list, err := diffConfig(cmd.Context(), s, numbers)
			if err != nil {
				return err
			}
			return env.Show(list, func(p *ui.Page) { writeDifferences(p, list) })
		})
	}
	return cmd
}

func revisionNumber(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, pai.Errorf(pai.CodeUsage, "to list the revisions, run: paictl config history", "%q is not the number of a revision", text)
	}
	return n, nil
}

// diffConfig compares two revisions, or one with the local configuration.
// Without numbers, that is the newest revision.
func diffConfig(ctx context.Context, s *session.Session, numbers []int) ([]config.Difference, error) {
	store, err := s.Revisions()
	if err != nil {
		return nil, err
	}
	var sides []*config.Config
	add := func(r revision.Revision, err error) error {
		if err != nil {
			return err
		}
		c, err := configOf(r)
		sides = append(sides, c)
		return err
	}
	for _, n := range numbers {
		if err := add(store.Get(ctx, n)); err != nil {
			return nil, err
		}
	}
	if len(numbers) == 0 {
		newest, err := store.Newest(ctx)
		if err == nil && newest == nil {
			err = pai.Errorf(pai.CodeNotFound, "push a revision, run: paictl config push -m WHY", "the cluster has no revision of its configuration yet")
		}
		if err != nil {
			return nil, err
		}
		if err := add(*newest, nil); err != nil {
			return nil, err
		}
	}
	sides = append(sides, s.Config)
	return differences(sides[0], sides[1])
}

// configOf reads the files of a revision as a configuration.
func configOf(r revision.Revision) (*config.Config, error) {
	c, report := config.FromFiles(fmt.Sprintf("revision-%d", r.Number), r.Files)
	if len(report.Problems) > 0 {
		return nil, pai.Errorf(pai.CodeInvalid, "compare with another revision; to list the revisions, run: paictl config history",
			"revision %d is not valid for this version of paictl:\n%w", r.Number, report.Problems)
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
