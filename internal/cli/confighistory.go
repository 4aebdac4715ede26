package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/upgrade"
)

func newConfigHistoryCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show the revisions of the configuration: when, who, why, and what applied them",
		Args:  cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return withMaster(cmd.Context(), t, func(ctx context.Context, s *upgrade.Session) error {
			rows, err := s.RevisionHistory(ctx)
			if err != nil {
				return err
			}
			return env.Show(rows, func(out io.Writer) error { return writeRevisions(out, rows) })
		})
	}
	return cmd
}

func writeRevisions(out io.Writer, rows []upgrade.RevisionRow) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REVISION\tTIME\tBY\tAPPLIED TO\tUSED BY\tWHY")
	for _, r := range rows {
		var used []string
		for _, op := range r.Operations {
			used = append(used, fmt.Sprintf("%s %s", op.Verb, op.Outcome))
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Number, r.Time.Local().Format("2006-01-02 15:04"), r.By,
			orNone(partNames(r.AppliedTo)), orNone(strings.Join(slices.Compact(used), ", ")), r.Why)
	}
	return t.Flush()
}

func partNames(parts []revision.Part) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
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
		return withMaster(cmd.Context(), t, func(ctx context.Context, s *upgrade.Session) error {
			return rollbackConfig(ctx, t, s, n, firstSet(why, fmt.Sprintf("back to revision %d", n)))
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

func rollbackConfig(ctx context.Context, t *target, s *upgrade.Session, number int, why string) error {
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
	if result.Revision, result.Former, err = s.GoBackTo(ctx, number, why); err != nil {
		return err
	}
	return t.env.Show(result, func(out io.Writer) error {
		fmt.Fprintf(out, "Revision %d is equal to revision %d. Nothing was applied yet.\n", result.Revision, number)
		f, err := s.Folder(ctx)
		if err == nil && !f.Unchanged() {
			fmt.Fprintf(out, "%s is not that: see paictl config diff, and paictl config pull\n", s.Config.Dir)
		} else if result.Former != "" {
			fmt.Fprintf(out, "%s has it; what it had is in %s\n", s.Config.Dir, result.Former)
		}
		return err
	})
}
