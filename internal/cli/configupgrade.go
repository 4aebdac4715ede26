package cli

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
)

func newConfigUpgradeCommand(env *Env) *cobra.Command {
	var (
		to     pai.Version
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Move a configuration to a release's schema and versions",
		Long: `Move a configuration to the schema that came with a release, make it name that
release and its Kubernetes, and say what was moved, defaulted, renamed and
dropped. Comments, order and anchors stay. Nothing reaches a cluster: that is
what "paictl upgrade apply", "cluster k8s-bootup" and "service start" are for.

The folder is rewritten in place, and the former files are kept in a folder
beside it. Valid or not, a configuration is moved; what is wrong with it is
listed afterwards, with code 1. Run again, it changes nothing.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.Flags().StringVar((*string)(&to), "to", "", "release to move to (default: the newest)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, and stop")
	cmd.RunE = func(*cobra.Command, []string) error {
		dir, err := t.dir()
		if err != nil {
			return err
		}
		return upgradeConfig(env, dir, to, dryRun)
	}
	return cmd
}

// configUpgradeResult is what `config upgrade -o json` prints.
type configUpgradeResult struct {
	FromSchema int           `json:"fromSchema"`
	ToSchema   int           `json:"toSchema"`
	DryRun     bool          `json:"dryRun"`
	Changes    []config.Edit `json:"changes"`
	// Former is the folder that the former files are in; none where nothing changed.
	Former string      `json:"former,omitempty"`
	Check  checkResult `json:"check"`
}

func upgradeConfig(env *Env, dir string, to pai.Version, dryRun bool) error {
	row, err := session.NewestRelease()
	if to != "" {
		row, err = session.FindRelease(string(to))
	}
	if err != nil {
		return err
	}
	known, err := session.KnownToConfig()
	if err != nil {
		return err
	}
	trusted, err := ownTrustedKey(env)
	if err != nil {
		return err
	}
	u, err := config.Upgrade(dir, config.MigrationTarget{
		Schema: row.Configuration.Schema, TrustedKey: trusted,
		Pair: pai.Pair{Services: row.Services.Version, Kubernetes: row.Kubernetes.Version},
	})
	if err != nil {
		return err
	}
	c, report := u.Check(known...)
	result := configUpgradeResult{
		FromSchema: u.From, ToSchema: u.To, DryRun: dryRun,
		Changes: append([]config.Edit{}, u.Changes...), Check: newCheckResult(dir, c, report),
	}
	if !dryRun {
		if result.Former, err = u.Write(); err != nil {
			return err
		}
	}
	if err := env.Show(result, func(p *ui.Page) { writeConfigUpgrade(p, c, u.Differs(), result) }); err != nil {
		return err
	}
	if !result.Check.Valid {
		return pai.Errorf(pai.CodeInvalid, "mend what is listed, and see with: paictl config check -p "+dir, "%d problems in %s", len(report.Problems), dir)
	}
	return nil
}

// ownTrustedKey is the public key of the operator's own; empty when he has none.
func ownTrustedKey(env *Env) (string, error) {
	key, err := publicKey(env, "")
	if errors.Is(err, fs.ErrNotExist) || pai.CodeOf(err) == pai.CodeUsage {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return release.EncodePublicKey(key), nil
}

func writeConfigUpgrade(p *ui.Page, c *config.Config, differs bool, r configUpgradeResult) {
	for _, change := range r.Changes {
		p.Linef("%s", change)
	}
	switch {
	case !differs:
		p.Linef("%s already has schema version %d; nothing to change", r.Check.Directory, r.ToSchema)
	case r.DryRun:
		p.Linef("%s would get schema version %d; nothing was changed", r.Check.Directory, r.ToSchema)
	default:
		p.Linef("Upgraded %s to schema version %d; the previous files are in %s", r.Check.Directory, r.ToSchema, r.Former)
	}
	writeCheck(p, c, r.Check)
}
