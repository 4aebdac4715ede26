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
		to     string
		dryRun bool
	)
	cmd := directoryCommand(env, "upgrade", "Upgrade a configuration to the schema and versions of a release",
		func(dir string) error { return upgradeConfig(env, dir, to, dryRun) })
	cmd.Flags().StringVar(&to, "to", "", "release to upgrade to (default: the newest)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show the changes and stop")
	return cmd
}

// configUpgradeResult is what `config upgrade -o json` prints.
type configUpgradeResult struct {
	FromSchema int           `json:"fromSchema"`
	ToSchema   int           `json:"toSchema"`
	DryRun     bool          `json:"dryRun"`
	Changes    []config.Edit `json:"changes"`
	// Previous is the directory with the previous files; empty if nothing changed.
	Previous string      `json:"former,omitempty"`
	Check    checkResult `json:"check"`
}

func upgradeConfig(env *Env, dir, to string, dryRun bool) error {
	row, err := findRelease(to)
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
		Changes: append([]config.Edit{}, u.Edits...), Check: newCheckResult(dir, c, report),
	}
	if !dryRun {
		if result.Previous, err = u.Write(); err != nil {
			return err
		}
	}
	if err := env.Show(result, func(p *ui.Page) { writeConfigUpgrade(p, c, u.Differs(), result) }); err != nil {
		return err
	}
	return result.Check.error()
}

// ownTrustedKey is the public key of the operator; empty without one.
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
		p.Linef("Upgraded %s to schema version %d; the previous files are in %s", r.Check.Directory, r.ToSchema, r.Previous)
	}
	writeCheck(p, c, r.Check)
}
