package cli

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/session"
)

func newConfigCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write, check, upgrade, share and remember the configuration of a cluster",
		Long: `Write, check, upgrade, share and remember the configuration of a cluster.

A configuration is a folder of files. The cluster remembers every state of it
that was pushed or applied, as numbered revisions: "config push" makes one,
"config pull" brings one into a folder, and whatever changes the cluster says
which revision it applies. Nothing is changed by a push alone.`,
	}
	cmd.AddCommand(newConfigGenerateCommand(env), newConfigCheckCommand(env), newConfigUpgradeCommand(env),
		newConfigPushCommand(env), newConfigPullCommand(env), newConfigDiffCommand(env),
		newConfigHistoryCommand(env), newConfigRollbackCommand(env), newConfigGetIDCommand(env))
	return cmd
}

func newConfigCheckCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find everything that is wrong with a configuration",
		Long: `Find everything that is wrong with a configuration in one run, each mistake as
FILE:LINE:COLUMN: message. Ends with code 1 when there is any. Keys of earlier
PAI that have no effect now are noted, and are not mistakes.`,
		Args: cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		dir, err := t.dir()
		if err != nil {
			return err
		}
		return checkConfig(env, dir)
	}
	return cmd
}

// checkResult is what `config check -o json` prints. The lists are never null.
type checkResult struct {
	Directory  string          `json:"directory"`
	Valid      bool            `json:"valid"`
	Schema     int             `json:"schema,omitempty"`
	ClusterID  string          `json:"clusterId,omitempty"`
	Release    pai.Version     `json:"release,omitempty"`
	Kubernetes pai.Version     `json:"kubernetes,omitempty"`
	Problems   config.Problems `json:"problems"`
	Notes      config.Problems `json:"notes"`
}

func checkConfig(env *Env, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return pai.Errorf(pai.CodeNotFound, "name the folder of a configuration with -p DIR", "there is no folder %s", dir)
	}
	known, err := session.KnownToConfig()
	if err != nil {
		return err
	}
	c, report := config.Check(dir, known...)
	result := newCheckResult(dir, c, report)
	if err := env.Show(result, func(p *ui.Page) { writeCheck(p, c, result) }); err != nil {
		return err
	}
	if !result.Valid {
		return pai.Errorf(pai.CodeInvalid, "mend what is listed and check again", "%d problems in %s", len(report.Problems), dir)
	}
	return nil
}

func newCheckResult(dir string, c *config.Config, report config.Report) checkResult {
	result := checkResult{
		Directory: dir, Valid: len(report.Problems) == 0,
		Problems: append(config.Problems{}, report.Problems...), Notes: append(config.Problems{}, report.Notes...),
	}
	if c != nil {
		result.Schema = c.Layout.SchemaVersion
		result.ClusterID = c.Services.Cluster.Common.ClusterID
		result.Release, result.Kubernetes = c.Pair().Services, c.Pair().Kubernetes
	}
	return result
}

func writeCheck(p *ui.Page, c *config.Config, r checkResult) {
	for _, problem := range r.Problems {
		p.Linef("%s", problem)
	}
	for _, n := range r.Notes {
		p.Linef("%s:%d:%d: note: %s", n.File, n.Line, n.Column, n.Message)
	}
	if r.Valid {
		p.Linef("%s is valid: cluster %s, %d machines, %s", r.Directory, r.ClusterID, len(c.Layout.MachineList), c.Pair())
	}
}

func newConfigGetIDCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get-id",
		Short: "Print the id of the cluster that a configuration is for",
		Args:  cobra.NoArgs,
	}
	t := addTarget(env, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		dir, err := t.dir()
		if err != nil {
			return err
		}
		c, err := config.Load(dir)
		if err != nil {
			return err
		}
		id := c.Services.Cluster.Common.ClusterID
		return env.Show(map[string]string{"clusterId": id}, func(p *ui.Page) { p.Linef("%s", id) })
	}
	return cmd
}
