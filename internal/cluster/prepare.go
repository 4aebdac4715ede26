package cluster

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/template"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

//go:embed scripts manifests
var embedded embed.FS

// requiredCommands are the commands that Kubernetes programs call, with the Debian
// package of each.
var requiredCommands = []struct{ name, pkg string }{
	{"nft", "nftables"}, {"ip", "iproute2"}, {"mount", "mount"}, {"modprobe", "kmod"}, {"tar", "tar"},
}

// preparedFiles are the files of a prepared machine: the scripts that run at boot
// and at shutdown, and their units.
func preparedFiles(cfg *config.Config) (map[string]preparedFile, error) {
	var prepare bytes.Buffer
	t, err := template.ParseFS(embedded, "scripts/prepare.sh")
	if err != nil {
		return nil, err
	}
	if err := t.Execute(&prepare, map[string]any{"Hosts": hostLines(cfg)}); err != nil {
		return nil, err
	}
	shutdown, err := embedded.ReadFile("scripts/shutdown.sh")
	if err != nil {
		return nil, err
	}
	authentication, err := embedded.ReadFile("manifests/authentication.yaml")
	if err != nil {
		return nil, err
	}
	recorded, err := recordedMachines(cfg)
	if err != nil {
		return nil, err
	}
	return map[string]preparedFile{
		layout.PrepareScript:                            {prepare.String(), 0o755},
		layout.ShutdownScript:                           {string(shutdown), 0o755},
		layout.CertificatesFile:                         {recorded, 0o644},
		layout.AuthenticationFile:                       {string(authentication), 0o644},
		layout.UnitsDir + "/" + layout.PrepareUnit:      {prepareUnitFile, 0o644},
		layout.UnitsDir + "/" + layout.ShutdownUnit:     {shutdownUnitFile, 0o644},
		layout.UnitsDir + "/" + layout.CertificatesUnit: {certificatesUnitFile(), 0o644},
	}, nil
}

// recordedMachines are the machines whose kubelets get certificates.
func recordedMachines(cfg *config.Config) (string, error) {
	var r certs.Recorded
	for _, m := range cfg.Layout.MachineList {
		r.Machines = append(r.Machines, certs.Machine{Name: m.Hostname, Address: m.HostIP})
	}
	data, err := json.MarshalIndent(r, "", "  ")
	return string(data) + "\n", err
}

type preparedFile struct {
	content string
	mode    fs.FileMode
}

// hostLines are the lines of PAI in /etc/hosts: the name of the API, which is the
// proxy on the loopback address, and the names of all machines.
func hostLines(cfg *config.Config) []string {
	lines := []string{"127.0.0.1 " + layout.APIName}
	for _, m := range cfg.Layout.MachineList {
		lines = append(lines, m.HostIP+" "+m.Hostname)
	}
	return lines
}

// outdated lists the prepared files that are missing or different on the machine.
func outdated(there *inspect.Preparation, files map[string]preparedFile) []string {
	return slices.DeleteFunc(sortedKeys(files), func(file string) bool {
		return there.Files[file] == fingerprint.Of([]byte(files[file].content))
	})
}

func readPrepared(ctx context.Context, h machine.Host) (*inspect.Preparation, error) {
	report, err := helper.Parts(ctx, h, inspect.Prepared)
	return report.Prepared, err
}

func (c *cluster) prepareDone(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) (bool, error) {
	digest, err := preparedDigest(c.Config)
	if err != nil {
		return false, err
	}
	there, err := readPrepared(ctx, h)
	if err != nil {
		return false, err
	}
	return preparedAs(there) == digest && there.PrepareActive && there.ShutdownActive && there.CertificatesActive, nil
}

// preparedAs is the digest of what a machine was prepared with. It is empty while units run as
// older files say: the preparation was killed after it had written newer ones. Older releases
// have no certificate program.
func preparedAs(there *inspect.Preparation) string {
	if unitsOutdated(there) {
		return ""
	}
	digests := map[string]string{layout.HostsFile: there.Hosts}
	for _, path := range []string{layout.PrepareScript, layout.ShutdownScript, layout.CertificatesFile, layout.AuthenticationFile,
		layout.UnitsDir + "/" + layout.PrepareUnit, layout.UnitsDir + "/" + layout.ShutdownUnit, layout.UnitsDir + "/" + layout.CertificatesUnit} {
		digests[path] = there.Files[path]
	}
	return fingerprint.Directory(digests)
}

// unitsOutdated reports whether a unit of the preparation runs otherwise than its file says.
func unitsOutdated(there *inspect.Preparation) bool {
	return there.CertificatesOutdated || slices.ContainsFunc([]string{layout.PrepareUnit, layout.ShutdownUnit, layout.CertificatesUnit},
		func(unit string) bool { return slices.Contains(there.NeedsReload, unit) })
}

// roleUnits are the units of the roles of a machine. Preparing a machine writes
// those that it lacks, so that systemd reads all of them once; the step of a role
// replaces an older one.
func roleUnits(m config.Machine) map[string]preparedFile {
	units := map[string]preparedFile{}
	for _, o := range unitTable {
		if !o.optional && (!o.controlPlane || m.IsControlPlane()) {
			units[layout.UnitFile(o.role)] = preparedFile{unitFile(o), 0o644}
		}
	}
	return units
}

// prepare writes the missing or outdated units and scripts, and applies the
// settings. systemd reloads its units only if one changed, also in a preparation that was
// killed.
func (c *cluster) prepare(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) error {
	if err := checkCommands(ctx, h); err != nil {
		return err
	}
	files, err := preparedFiles(c.Config)
	if err != nil {
		return err
	}
	there, err := readPrepared(ctx, h)
	if err != nil {
		return err
	}
	paths := outdated(there, files)
	for path, unit := range roleUnits(m) {
		if there.Files[path] == "" {
			files[path] = unit
			paths = append(paths, path)
		}
	}
	if slices.Contains(paths, layout.PrepareScript) {
		// It would stay active while the new script did not run, if this is killed. Nothing
		// stops with it.
		if _, err := sh(ctx, h, "systemctl stop %s 2>/dev/null || :", layout.PrepareUnit); err != nil {
			return fmt.Errorf("prepare machine %q: %w", h.Name(), err)
		}
	}
	if err := writeFiles(ctx, h, files, paths); err != nil {
		return fmt.Errorf("prepare machine %q: %w", h.Name(), err)
	}
	reload := ""
	if unitsOutdated(there) || slices.ContainsFunc(paths, func(path string) bool { return strings.HasPrefix(path, layout.UnitsDir) }) {
		reload = "systemctl daemon-reload"
	}
	_, err = sh(ctx, h, `
%s
SYSTEMD_OFFLINE=1 systemctl enable -q %s %s %s
systemctl restart %s || { journalctl -q -n 20 -o cat -u %s >&2; exit 1; }
systemctl start %s
systemctl restart %s`, reload, layout.PrepareUnit, layout.ShutdownUnit, layout.CertificatesUnit, layout.PrepareUnit, layout.PrepareUnit, layout.ShutdownUnit, layout.CertificatesUnit)
	if err != nil {
		return fmt.Errorf("prepare machine %q: %w", h.Name(), err)
	}
	return nil
}

func writeFiles(ctx context.Context, h machine.Host, files map[string]preparedFile, paths []string) error {
	for _, path := range paths {
		if err := h.WriteFile(ctx, path, []byte(files[path].content), files[path].mode); err != nil {
			return err
		}
	}
	return nil
}

func checkCommands(ctx context.Context, h machine.Host) error {
	var script strings.Builder
	for _, n := range requiredCommands {
		fmt.Fprintf(&script, "command -v %s >/dev/null || echo %s\n", n.name, n.pkg)
	}
	// The rules of kube-proxy need the names of the protocols.
	script.WriteString("[ -e /etc/protocols ] || echo netbase\n")
	out, err := sh(ctx, h, "%s", script.String())
	if err != nil {
		return fmt.Errorf("look for the required commands on machine %q: %w", h.Name(), err)
	}
	if out != "" {
		packages := strings.Join(strings.Fields(out), " ")
		return pai.Errorf(pai.CodeFailed, fmt.Sprintf("install them on %s: apt-get install %s", h.Name(), packages),
			"machine %q lacks the packages %s", h.Name(), packages)
	}
	return nil
}

func quoteAll(words []string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, machine.Quote(w))
	}
	return strings.Join(quoted, " ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
