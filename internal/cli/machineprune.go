package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/session"
)

// prunedMachines is what `machine prune -o json` prints.
type prunedMachines struct {
	DryRun   bool                    `json:"dryRun"`
	Machines []cluster.PrunedMachine `json:"machines"`
}

func newMachinePruneCommand(env *Env) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune [MACHINE…]",
		Short: "Remove programs of versions without use",
	}
	f := addClusterFlags(env, cmd)
	cmd.ValidArgsFunction = machineNames(env, &f.configDir).complete
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed and stop")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return f.withSession(cmd.Context(), func(s *session.Session) error {
			if !dryRun {
				if err := f.confirm(s, "remove programs of versions without use"); err != nil {
					return err
				}
			}
			machines, err := operation.PruneMachines(cmd.Context(), s, names, dryRun)
			if machines == nil {
				return err
			}
			result := prunedMachines{dryRun, machines}
			return errors.Join(env.Show(result, func(p *ui.Page) { writePruned(p, result) }), err)
		})
	}
	return cmd
}

func writePruned(p *ui.Page, r prunedMachines) {
	removed := "removed"
	if r.DryRun {
		removed = "would remove"
	}
	var bytes int64
	directories := 0
	p.Row("MACHINE", "DIRECTORY", "SIZE", "RESULT", "REASON")
	for _, m := range r.Machines {
		for _, d := range m.Removed {
			p.Row(m.Machine, d.Path, ui.Size(d.Bytes), removed, "nothing needs it")
			bytes += d.Bytes
			directories++
		}
		for _, d := range m.Kept {
			p.Row(m.Machine, d.Path, ui.Size(d.Bytes), "kept", firstReasons(d.Reasons))
		}
		if m.Error != "" && len(m.Removed)+len(m.Kept) == 0 {
			p.Row(m.Machine, ui.OrDash(""), ui.OrDash(""), "unknown", m.Error)
		}
	}
	verb := "Removed"
	if r.DryRun {
		verb = "Would remove"
	}
	p.Linef("%s %s, %s.", verb, english.Plural(directories, "directory", "directories"), ui.Size(bytes))
}

// shownReasons is how many reasons the text has. JSON has all.
const shownReasons = 3

// firstReasons joins the first reasons, and counts the others.
func firstReasons(reasons []string) string {
	if len(reasons) <= shownReasons {
		return strings.Join(reasons, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(reasons[:shownReasons], "; "), len(reasons)-shownReasons)
}
