package cluster

import (
	"context"
	"fmt"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// observeScript prints what a machine has, one line each, with its kind first. The
// running programs come from /proc, not from systemd.
const observeScript = `
for d in ` + layout.ProgramsDir + `/*/release.json; do
    [ -e "$d" ] && echo "program $(basename "$(dirname "$d")")"
done
for l in ` + layout.RolesDir + `/*; do
    [ -L "$l" ] || continue
    name=$(basename "$l")
    echo "link $name $(basename "$(readlink "$l")")"
    [ "$(systemctl show -p MainPID --value "pai-$name")" != 0 ] && continue
    emulates=$(sed -n 's/.*--emulated-version=\([0-9.]*\).*/\1/p' "$l/run/$name" 2>/dev/null)
    [ -z "$emulates" ] || echo "emulates $name $emulates"
done
for u in ` + layout.UnitsDir + `/pai-*.service; do
    [ -e "$u" ] || continue
    name=$(basename "$u" .service)
    pid=$(systemctl show -p MainPID --value "$name")
    [ "$pid" != 0 ] || continue
    exe=$(readlink "/proc/$pid/exe") || continue
    echo "running ${name#pai-} $exe"
    emulates=$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n 's/^--emulated-version=//p')
    [ -z "$emulates" ] || echo "emulates ${name#pai-} $emulates"
done
systemctl is-active -q ` + layout.PrepareUnit + ` && echo prepared
[ -e ` + layout.KubeletConf + ` ] && [ -e ` + layout.KubeletClientCertificate + ` ] &&
    [ -e ` + layout.KubeletServingCertificate + ` ] && echo joined
for r in ` + layout.ImagesDir + `/*; do
    [ -e "$r" ] && echo "images $(basename "$r")"
done
:`

// Observe reads what a machine has and runs, without the API. The caller sets
// Name, Address, ControlPlane, and Node.
func Observe(ctx context.Context, host machine.Host) (plan.MachineState, error) {
	out, err := host.Run(ctx, machine.Command{Script: observeScript})
	if err != nil {
		return plan.MachineState{}, fmt.Errorf("observe machine %q: %w", host.Name(), err)
	}
	m, records := parseObservation(out.Stdout)
	if len(records) == 0 {
		return m, nil
	}
	have, err := listImages(ctx, host)
	if err != nil {
		return m, nil // the runtime is not responding: images unknown
	}
	for _, name := range records {
		data, err := host.ReadFile(ctx, layout.ImagesDir+"/"+name)
		if err != nil {
			return m, fmt.Errorf("observe the images of machine %q: %w", host.Name(), err)
		}
		if allThere(data, have) {
			m.Images = append(m.Images, strings.Replace(name, "-", ":", 1))
		}
	}
	return m, nil
}

// parseObservation reads the output of observeScript. It also returns the names of
// the image records of the machine.
func parseObservation(out string) (m plan.MachineState, imageRecords []string) {
	m.Roles = map[plan.Role]plan.RoleState{}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case len(f) == 1 && f[0] == "prepared":
			m.Prepared = true
		case len(f) == 1 && f[0] == "joined":
			m.Joined = true
		case len(f) == 2 && f[0] == "program":
			m.Programs = append(m.Programs, pai.KubernetesVersion(f[1]))
		case len(f) == 2 && f[0] == "images":
			imageRecords = append(imageRecords, f[1])
		case len(f) == 3 && f[0] == "link":
			state := m.Roles[plan.Role(f[1])]
			state.Link = pai.KubernetesVersion(f[2])
			m.Roles[plan.Role(f[1])] = state
		case len(f) == 3 && f[0] == "emulates":
			state := m.Roles[plan.Role(f[1])]
			state.Emulates = f[2]
			m.Roles[plan.Role(f[1])] = state
		case len(f) >= 3 && f[0] == "running":
			state := m.Roles[plan.Role(f[1])]
			state.Running = versionOfProgram(f[2])
			m.Roles[plan.Role(f[1])] = state
		}
	}
	return m, imageRecords
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
	out, err := sh(ctx, h, `
echo "link %[1]s $(basename "$(readlink %[2]s || :)")"
pid=$(systemctl show -p MainPID --value %[3]s)
if [ "$pid" = 0 ]; then
    emulates=$(sed -n 's/.*--emulated-version=\([0-9.]*\).*/\1/p' %[2]s/run/%[1]s 2>/dev/null || :)
else
    echo "running %[1]s $(readlink "/proc/$pid/exe" || :)"
    emulates=$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n 's/^--emulated-version=//p' || :)
fi
[ -z "$emulates" ] || echo "emulates %[1]s $emulates"`, r, layout.RoleLink(r), layout.Unit(r))
	if err != nil {
		return plan.RoleState{}, fmt.Errorf("observe %s on %q: %w", r, h.Name(), err)
	}
	m, _ := parseObservation(out)
	return m.Roles[r], nil
}
