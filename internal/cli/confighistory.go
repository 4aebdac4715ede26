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
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show the revisions of the configuration: when, who, why, and what applied them",
		Args:  cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withControlPlane(cmd.Context(), t, func(ctx context.Context, s *session.Session) error {
			rows, err := configsync.History(ctx, s)
			if err != nil {
				return err
			}
			return env.Show(rows, func(p *ui.Page) { writeRevisions(p, rows) })
		})
	}
	return cmd
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
		Short: "Make a new revision that is equal to an older one",
		Long: `Make a new revision that is equal to an older one. Nothing in between is lost, and
nothing reaches machines or services by this. The folder becomes the new revision
too where it was the newest one; with changes of its own it stays as it is.

A configuration that names older versions than those that run takes nothing
back: that is what "paictl upgrade rollback" is for.`,
		Args: cobra.ExactArgs(1),
	}
	t := addTarget(env, cmd)
	cmd.Flags().StringVarP(&why, "message", "m", "", "why, in one line, for the history (default: back to revision N)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := revisionNumber(args[0])
		if err != nil {
			return err
		}
		return withControlPlane(cmd.Context(), t, func(ctx context.Context, s *session.Session) error {
			return rollbackConfig(ctx, t, s, n, cmp.Or(why, fmt.Sprintf("back to revision %d", n)))
		})
	}
	return cmd
}

// wentBack is what `config rollback -o json` prints.
type wentBack struct {
	Revision int    `json:"revision"`
	EqualTo  int    `json:"equalTo"`
	Former   string `json:"former,omitempty"` // the folder with the files that were replaced
}

func rollbackConfig(ctx context.Context, t *target, s *session.Session, number int, why string) error {
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
	if err := t.confirmCluster(s, fmt.Sprintf("make a new revision equal to %d", number)); err != nil {
		return err
	}
	result := wentBack{EqualTo: number}
	if result.Revision, result.Former, err = configsync.RollbackTo(ctx, s, number, why); err != nil {
		return err
	}
	f, err := configsync.Read(ctx, s)
	return errors.Join(err, t.env.Show(result, func(p *ui.Page) {
		p.Linef("Created revision %d, equal to revision %d. Nothing is applied yet.", result.Revision, number)
		if err == nil && !f.Unchanged() {
			p.Linef("%s has changes and was not updated; to compare, run: paictl config diff", s.Config.Dir)
		} else if result.Former != "" {
			p.Linef("Updated %s; its previous files are in %s", s.Config.Dir, result.Former)
		}
	}))
}
