package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Observe reads what a machine has and runs, without the API, and what it has for backups
// without an operator, nil if that is unknown. The caller sets Name, Address,
// ControlPlane, BackupTimer, and Node.
func Observe(ctx context.Context, host machine.Host) (plan.MachineState, *inspect.BackupState, error) {
	report, err := helper.Inspect(ctx, host, inspect.Request{
		Parts: []inspect.Part{inspect.Programs, inspect.Roles, inspect.Prepared, inspect.Images, inspect.Foreign, inspect.DevicePlugin, inspect.Backups},
	}, inspect.Programs, inspect.Roles, inspect.Prepared)
	if err != nil {
		return plan.MachineState{}, nil, err
	}
	m := plan.MachineState{
		Prepared: isPrepared(report.Prepared), PreparedAs: preparedAs(report.Prepared), Joined: report.Prepared.Joined, Roles: map[plan.Role]plan.RoleState{}, ProgramDigests: map[pai.KubernetesVersion]string{},
	}
	if report.Problem(inspect.Foreign) == "" {
		m.Foreign = append([]string{}, report.Foreign...)
	}
	m.DevicePlugin = report.DevicePlugin
	for _, version := range slices.Sorted(maps.Keys(report.Programs)) {
		m.Programs = append(m.Programs, pai.KubernetesVersion(version))
		if digest := fingerprint.Directory(report.Programs[version]); digest != "" {
			m.ProgramDigests[pai.KubernetesVersion(version)] = digest
		}
	}
	for name, r := range report.Roles {
		if r.Link != "" || r.PID != 0 {
			m.Roles[name] = stateOf(r)
		}
	}
	if report.Images == nil {
		return m, report.Backups, nil // images unknown
	}
	for _, name := range slices.Sorted(maps.Keys(report.Images.Records)) {
		if allThere(report.Images.Records[name], report.Images.Images) {
			m.Images = append(m.Images, strings.Replace(name, "-", ":", 1))
		}
	}
	return m, report.Backups, nil
}

// isPrepared reports whether a machine was prepared since it booted, by this release
// or by an older one, which has no certificate program.
func isPrepared(p *inspect.Preparation) bool {
	return p.PrepareActive && (p.CertificatesActive || p.Files[layout.UnitsDir+"/"+layout.CertificatesUnit] == "")
}

func stateOf(r inspect.Role) plan.RoleState {
	return plan.RoleState{Link: pai.KubernetesVersion(r.Link), Running: versionOfProgram(r.Program), Emulates: r.Emulates, Elects: r.Elects,
		Digests: plan.Digests{Programs: r.Programs, Settings: settingsOf(r)}}
}

// settingsOf is the digest of the settings that a role was started with, or would
// start with. It is empty if that is not certain.
func settingsOf(r inspect.Role) string {
	switch {
	case r.PID == 0:
		return r.DiskSettings
	case r.NeedsReload:
		return ""
	case r.Settings == r.DiskSettings, r.Settings == "" && !r.DiskMarked: // PAI v0.10 and older mark no script
		return r.DiskSettings
	default:
		return "" // started before the files changed
	}
}

// versionOfProgram is the version whose directory contains a program, or empty.
func versionOfProgram(path string) pai.KubernetesVersion {
	rest, ok := strings.CutPrefix(path, layout.ProgramsDir+"/")
	version, inside, found := strings.Cut(rest, "/")
	if !ok || !found || !strings.HasPrefix(inside, "bin/") {
		return ""
	}
	return pai.KubernetesVersion(version)
}

// roleState reads one role of a machine.
func roleState(ctx context.Context, h machine.Host, r plan.Role) (plan.RoleState, error) {
	states, err := roleStates(ctx, h, r)
	return states[r], err
}

// roleStates reads roles of a machine at once.
func roleStates(ctx context.Context, h machine.Host, roles ...plan.Role) (map[plan.Role]plan.RoleState, error) {
	report, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Roles}, Only: roles}, inspect.Roles)
	if err != nil {
		return nil, fmt.Errorf("observe %s: %w", roles, err)
	}
	states := map[plan.Role]plan.RoleState{}
	for _, r := range roles {
		states[r] = stateOf(report.Roles[r])
	}
	return states, nil
}
