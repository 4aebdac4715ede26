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

func newConfigPushCommand(env *Env) *cobra.Command {
	var (
		why    string
		over   int
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "push -m WHY",
		Short: "Store the configuration in the cluster as a new revision",
		Long: `Check the configuration, show what differs from the cluster's newest revision,
and store the folder as the next one, all of its files together. It is refused
if somebody pushed since this folder was pushed or pulled, and says what they
changed. Private keys stay on this host: the configuration only names their files.

Nothing reaches machines or services by this. Apply it with "paictl service
refresh", "paictl cluster k8s-bootup" or "paictl upgrade apply"; those push the
folder that they are given by themselves.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.Flags().StringVarP(&why, "message", "m", "", "why, in one line, for the history")
	cmd.Flags().IntVar(&over, "over", 0, "number of the newest revision, to replace it by a folder that was not pulled from the cluster")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be pushed, and stop")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if why == "" && !dryRun {
			return pai.Errorf(pai.CodeUsage, `for example: paictl config push -m "two more GPU machines"`, "say why with -m")
		}
		return withControlPlane(cmd.Context(), t, func(ctx context.Context, s *session.Session) error {
			return pushConfig(ctx, t, s, why, over, dryRun)
		})
	}
	return cmd
}

// withControlPlane opens what the control-plane machine keeps.
func withControlPlane(ctx context.Context, t *target, do func(context.Context, *session.Session) error) error {
	dir, err := t.dir()
	if err != nil {
		return err
	}
	s, err := session.OpenControlPlane(ctx, dir, t.env.dirs(), t.env.Progressf)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(ctx, s)
}

// pushed is what `config push -o json` prints.
type pushed struct {
	Revision int                 `json:"revision"`
	New      bool                `json:"new"` // false: the folder was the newest revision already
	DryRun   bool                `json:"dryRun"`
	Changes  []config.Difference `json:"changes"` // against the revision before
}

func pushConfig(ctx context.Context, t *target, s *session.Session, why string, over int, dryRun bool) error {
	env, dir := t.env, s.Config.Dir
	known, err := session.KnownToConfig()
	if err != nil {
		return err
	}
	c, report := config.Check(dir, known...)
	if len(report.Problems) > 0 {
		return pai.Errorf(pai.CodeInvalid, "mend these, nothing was pushed", "%s is not valid:\n%w", dir, report.Problems)
	}
	f, err := configsync.Read(ctx, s)
	if err != nil {
		return err
	}
	result := pushed{Revision: f.Number(), New: !f.Unchanged(), DryRun: dryRun, Changes: []config.Difference{}}
	if result.Changes, err = sinceNewest(f, c); err != nil {
		return err
	}
	if over == 0 && f.IsOutdated() {
		return errors.Join(showTheirs(ctx, env, s, f), f.CheckPush(dir))
	}
	if !result.New || dryRun {
		return env.Show(result, func(p *ui.Page) { writePushed(p, result) })
	}
	if !env.JSON() {
		if err := ui.Text(env.Err, func(p *ui.Page) { writeDifferences(p, result.Changes) }); err != nil {
			return err
		}
	}
	if err := t.confirmCluster(s, fmt.Sprintf("store %s as revision %d", dir, result.Revision)); err != nil {
		return err
	}
	if result.Revision, err = configsync.Push(ctx, s, why, over); err != nil {
		return err
	}
	return env.Show(result, func(p *ui.Page) {
		p.Linef("Pushed %s as revision %d. Nothing is applied yet.", dir, result.Revision)
	})
}

// showTheirs shows what others changed since the folder was pushed or pulled.
func showTheirs(ctx context.Context, env *Env, s *session.Session, f configsync.WorkingCopy) error {
	if f.Base == 0 {
		return nil
	}
	store, err := s.Revisions()
	if err != nil {
		return err
	}
	base, err := store.Get(ctx, f.Base)
	if err != nil {
		return err
	}
	before, err := configOf(base)
	if err != nil {
		return err
	}
	after, err := configOf(*f.Newest)
	if err != nil {
		return err
	}
	theirs, err := differences(before, after)
	if err != nil {
		return err
	}
	env.Progressf("%s changed:", f.Newest.Info)
	return ui.Text(env.Err, func(p *ui.Page) { writeDifferences(p, theirs) })
}

// sinceNewest is what a folder changes of the newest revision.
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
		p.Linef("The directory already equals revision %d; nothing to push", r.Revision)
		return
	}
	p.Linef("Would create revision %d:", r.Revision)
	writeDifferences(p, r.Changes)
}
