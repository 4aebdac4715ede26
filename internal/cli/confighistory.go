package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/session"
)

func newConfigHistoryCommand(env *Env) *cobra.Command {
	return showsCluster(env, &cobra.Command{
		Use:   "history",
		Short: "List the revisions of the configuration",
	}, session.OpenControlPlane, configsync.History, writeRevisions)
}

func writeRevisions(p *ui.Page, rows []configsync.Row) {
	p.Row("REVISION", "TIME", "BY", "APPLIED TO", "USED BY", "WHY")
	for _, r := range rows {
		var parts, used []string
		for _, part := range r.AppliedTo {
			parts = append(parts, string(part))
		}
		for _, op := range r.Operations {
			used = append(used, fmt.Sprintf("%s %s", op.Verb, op.Outcome))
		}
		p.Row(r.Number, ui.Time(r.Time), r.By, strings.Join(parts, ", "), strings.Join(slices.Compact(used), ", "), r.Why)
	}
}

func newConfigRollbackCommand(env *Env) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use:   "rollback REVISION",
		Short: "Create a new revision equal to an older one",
		Args:  cobra.ExactArgs(1),
	}
	cluster := addClusterFlags(env, cmd)
	cmd.Flags().StringVarP(&why, "message", "m", "", "reason for the history, in one line (default: roll back to revision N)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := revisionNumber(args[0])
		if err != nil {
			return err
		}
		return cluster.withControlPlane(cmd.Context(), func(s *session.Session) error {
			return rollbackConfig(cmd.Context(), cluster, s, n, cmp.Or(why, fmt.Sprintf("roll back to revision %d", n)))
		})
	}
	return cmd
}

// rolledBack is what `config rollback -o json` prints.
type rolledBack struct {
	Revision int    `json:"revision"`
	EqualTo  int    `json:"equalTo"`
	Previous string `json:"former,omitempty"` // directory with the files that were replaced
}

func rollbackConfig(ctx context.Context, cluster *clusterFlags, s *session.Session, number int, why string) error {
	store, err := s.Revisions()
	if err != nil {
		return err
	}
	r, err := store.Get(ctx, number)
	if err != nil {
		return err
	}
	if _, err := configOf(r); err != nil {
		return err
	}
	if err := cluster.confirm(s, fmt.Sprintf("create a new revision equal to %d", number)); err != nil {
		return err
	}
	result := rolledBack{EqualTo: number}
	if result.Revision, result.Previous, err = configsync.RollbackTo(ctx, s, number, why); err != nil {
		return err
	}
	f, err := configsync.Read(ctx, s)
	return errors.Join(err, cluster.env.Show(result, func(p *ui.Page) {
		p.Linef("Created revision %d, equal to revision %d. Nothing is applied yet.", result.Revision, number)
		if err == nil && !f.Unchanged() {
			p.Linef("%s has changes and was not updated. To compare, run: paictl config diff", s.Config.Dir)
		} else if result.Previous != "" {
			p.Linef("Updated %s. Its previous files are in %s.", s.Config.Dir, result.Previous)
		}
	}))
}
