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
	return group("config", "Write, check, upgrade, share, and version the configuration",
		newConfigGenerateCommand(env), newConfigCheckCommand(env), newConfigUpgradeCommand(env),
		newConfigPushCommand(env), newConfigPullCommand(env), newConfigDiffCommand(env),
		newConfigHistoryCommand(env), newConfigRollbackCommand(env), newConfigGetIDCommand(env))
}

func newConfigCheckCommand(env *Env) *cobra.Command {
	return directoryCommand(env, "check", "Find all mistakes in a configuration", func(dir string) error { return checkConfig(env, dir) })
}

// directoryCommand is a command that needs only the directory of a configuration.
func directoryCommand(env *Env, use, short string, do func(dir string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	cluster := addClusterFlags(env, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		dir, err := cluster.dir()
		if err != nil {
			return err
		}
		return do(dir)
	}
	return cmd
}

// checkResult is what `config check -o json` prints. The lists are never null.
type checkResult struct {
	Directory  string                `json:"directory"`
	Valid      bool                  `json:"valid"`
	Schema     int                   `json:"schema,omitempty"`
	ClusterID  string                `json:"clusterId,omitempty"`
	Release    pai.Release           `json:"release,omitempty"`
	Kubernetes pai.KubernetesVersion `json:"kubernetes,omitempty"`
	Problems   config.Problems       `json:"problems"`
	Notes      config.Problems       `json:"notes"`
}

func checkConfig(env *Env, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return pai.Errorf(pai.CodeNotFound, "name the directory of a configuration with -p DIR", "directory %s not found", dir)
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
	return result.error()
}

func newCheckResult(dir string, c *config.Config, report config.Report) checkResult {
	result := checkResult{
		Directory: dir, Valid: len(report.Problems) == 0,
		Problems: append(config.Problems{}, report.Problems...), Notes: append(config.Problems{}, report.Notes...),
	}
	if c != nil {
		result.Schema = c.Layout.SchemaVersion
		result.ClusterID = c.Services.Cluster.Common.ClusterID
		result.Release, result.Kubernetes = c.Release(), c.Pair().Kubernetes
	}
	return result
}

// error is nil for a valid configuration.
func (r checkResult) error() error {
	if r.Valid {
		return nil
	}
	return pai.Errorf(pai.CodeInvalid, "fix the problems, then run: paictl config check -p "+r.Directory, "%d problems in %s", len(r.Problems), r.Directory)
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
	return directoryCommand(env, "get-id", "Print the cluster ID of a configuration", func(dir string) error {
		c, err := config.Load(dir)
		if err != nil {
			return err
		}
		id := c.Services.Cluster.Common.ClusterID
		return env.Show(map[string]string{"clusterId": id}, func(p *ui.Page) { p.Linef("%s", id) })
	})
}
