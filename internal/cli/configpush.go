package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

// pushFlags are the flags of `config push`.
type pushFlags struct {
	why    string
	over   int
	dryRun bool
}

func newConfigPushCommand(env *Env) *cobra.Command {
	var f pushFlags
	cmd := &cobra.Command{
		Use:   "push -m WHY",
		Short: "Store the configuration in the cluster as a new revision",
		Args:  cobra.NoArgs,
	}
	cluster := addClusterFlags(env, cmd)
	cmd.Flags().StringVarP(&f.why, "message", "m", "", "reason for the history, in one line")
	cmd.Flags().IntVar(&f.over, "over", 0, "number of the newest revision, to replace it with a directory that was not pulled")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the changes and stop")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.why == "" && !f.dryRun {
			return pai.Errorf(pai.CodeUsage, `for example, run: paictl config push -m "two more GPU machines"`, "the reason is missing; pass it with -m")
		}
		return cluster.withControlPlane(cmd.Context(), func(s *session.Session) error {
			return pushConfig(cmd.Context(), cluster, s, f)
		})
	}
	return cmd
}

// pushed is what `config push -o json` prints.
type pushed struct {
	Revision int                 `json:"revision"`
	New      bool                `json:"new"` // false if the directory already was the newest revision
	DryRun   bool                `json:"dryRun"`
	Changes  []config.Difference `json:"changes"` // since the revision before
}

func pushConfig(ctx context.Context, cluster *clusterFlags, s *session.Session, flags pushFlags) error {
	env, dir := cluster.env, s.Config.Dir
	known, err := session.KnownToConfig()
	if err != nil {
		return err
	}
	c, report := config.Check(dir, known...)
	if len(report.Problems) > 0 {
		return pai.Errorf(pai.CodeInvalid, "fix the problems; nothing was pushed", "%s is not valid:\n%w", dir, report.Problems)
	}
	f, err := configsync.Read(ctx, s)
	if err != nil {
		return err
	}
	result := pushed{Revision: f.Number(), New: !f.Unchanged(), DryRun: flags.dryRun}
	if result.Changes, err = sinceNewest(f, c); err != nil {
		return err
	}
	if flags.over == 0 && f.IsOutdated() {
		return errors.Join(showTheirs(ctx, env, s, f), f.CheckPush(dir))
	}
	if !result.New || flags.dryRun {
		return env.Show(result, func(p *ui.Page) { writePushed(p, result) })
	}
	if !env.JSON() {
		if err := ui.Text(env.Err, func(p *ui.Page) { writeDifferences(p, result.Changes) }); err != nil {
			return err
		}
	}
	if err := cluster.confirm(s, fmt.Sprintf("store %s as revision %d", dir, result.Revision)); err != nil {
		return err
	}
	if result.Revision, err = configsync.Push(ctx, s, flags.why, flags.over); err != nil {
		return err
	}
	return env.Show(result, func(p *ui.Page) {
		p.Linef("Pushed %s as revision %d. Nothing is applied yet.", dir, result.Revision)
	})
}

// showTheirs prints what others changed since the directory was pushed or pulled.
func showTheirs(ctx context.Context, env *Env, s *session.Session, f configsync.WorkingCopy) error {
	if f.Base == 0 {
		return nil
	}
	theirs, err := diffConfig(ctx, s, []int{f.Base, f.Newest.Number})
	if err != nil {
		return err
	}
	env.Progressf("%s changed:", f.Newest.Info)
	return ui.Text(env.Err, func(p *ui.Page) { writeDifferences(p, theirs) })
}

// sinceNewest is what a directory changes of the newest revision.
func sinceNewest(f configsync.WorkingCopy, c *config.Config) ([]config.Difference, error) {
	if f.Newest == nil || f.Unchanged() {
		return []config.Difference{}, nil
	}
	before, err := configOf(*f.Newest)
	if err != nil {
		return nil, err
	}
	return differences(before, c)
}

func writePushed(p *ui.Page, r pushed) {
	if !r.New {
		p.Linef("The directory already equals revision %d. Nothing to push.", r.Revision)
		return
	}
	p.Linef("Would create revision %d:", r.Revision)
	writeDifferences(p, r.Changes)
}
