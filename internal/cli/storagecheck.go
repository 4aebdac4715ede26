package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/session"
)

func newStorageCheckCommand(c *jobClient) *cobra.Command {
	cluster := &clusterFlags{env: c.env}
	cmd := &cobra.Command{Use: "check [NAME…]", Short: "Try storages on every machine: mount, write, read, and measure"}
	cmd.Flags().StringVarP(&cluster.configDir, "config-path", "p", "", "directory of the cluster configuration (default: that of the only known cluster)")
	cmd.ValidArgsFunction = configuredStorages(c, cluster).complete
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		cluster.clusterID = c.clusterID
		return cluster.withSession(cmd.Context(), func(s *session.Session) error {
			checked, err := operation.CheckStorages(cmd.Context(), s, names)
			if checked == nil {
				return err
			}
			return errors.Join(c.env.Show(checked, func(p *ui.Page) { writeCheckedStorages(p, checked) }), err)
		})
	}
	return cmd
}

// configuredStorages are the storages of the configuration.
func configuredStorages(c *jobClient, cluster *clusterFlags) values {
	return func(*cobra.Command) []cobra.Completion {
		cluster.clusterID = c.clusterID
		dir, err := cluster.dir()
		if err != nil {
			return nil
		}
		cfg, err := config.Load(dir)
		if err != nil {
			return nil
		}
		return slices.Sorted(maps.Keys(cfg.Services.Storages))
	}
}

func writeCheckedStorages(p *ui.Page, checked []operation.CheckedStorage) {
	if len(checked) == 0 {
		p.Linef("The configuration has no storages.")
		return
	}
	p.Row("STORAGE", "MACHINE", "RESULT", "FILE SYSTEM", "WRITE", "READ", "LATENCY", "FREE")
	for _, c := range checked {
		for _, m := range c.Machines {
			writeStorageMachine(p, c.Storage, m)
		}
	}
	for _, c := range checked {
		for _, m := range c.Machines {
			if m.Found != "" {
				p.Linef("\n%s (%s) on %s: %s", c.Storage, c.Where, m.Machine, m.Found)
			}
			if m.Fix != "" {
				p.Linef("→ %s", m.Fix)
			}
		}
		for _, note := range c.Notes {
			p.Linef("\n%s: %s", c.Storage, note)
		}
	}
}

func writeStorageMachine(p *ui.Page, storage string, m operation.StorageMachine) {
	result, system := "ok", m.FileSystem
	switch {
	case m.LeftOut:
		result = "left out"
	case m.Problem != "":
		result = string(m.Problem)
	case !m.OK:
		result = "unknown"
	}
	if m.NFSVersion != "" {
		system = "nfs " + m.NFSVersion
	}
	free := ""
	if m.FreeBytes > 0 {
		free = ui.Size(m.FreeBytes)
	}
	p.Row(storage, m.Machine, result, system, figure(m.WriteMBs, "MB/s"), figure(m.ReadMBs, "MB/s"), figure(m.LatencyMs, "ms"), free)
}

// figure is a measured value with its unit; empty if it was not measured.
func figure(value float64, unit string) string {
	switch {
	case value <= 0:
		return ""
	case value < 10:
		return fmt.Sprintf("%.1f %s", value, unit)
	default:
		return fmt.Sprintf("%.0f %s", value, unit)
	}
}
