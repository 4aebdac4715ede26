package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// stopServingTimeout limits the stop on the machine: 5 s for each API server to end, as long for
// each controller, and the questions.
const stopServingTimeout = 2 * time.Minute

// servingRoles are the roles that make a machine a control-plane machine.
func servingRoles() []plan.Role {
	return []plan.Role{plan.RoleAPIServerA, plan.RoleAPIServerB, plan.RoleControllerManager, plan.RoleScheduler, plan.RoleEtcdA, plan.RoleEtcdB}
}

// stopServingDone reports whether nothing of the control plane runs on a machine, or starts at
// its next boot.
func (c *cluster) stopServingDone(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) (bool, error) {
	states, err := roleStates(ctx, h, servingRoles()...)
	if err != nil {
		return false, err
	}
	for _, s := range states {
		if s.Running != "" {
			return false, nil
		}
	}
	var units []string
	for _, r := range servingRoles() {
		units = append(units, layout.Unit(r))
	}
	out, err := sh(ctx, h, "for u in %s; do ! SYSTEMD_OFFLINE=1 systemctl is-enabled -q $u 2>/dev/null || echo $u; done", strings.Join(units, " "))
	return err == nil && out == "", err
}

// stopServing stops the control plane on one of several machines. A transient unit on the machine
// does it and asks the quorum rule there, so a lost connection changes nothing.
func (c *cluster) stopServing(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) error {
	states, err := slotStates(ctx, h, etcdRole)
	if err != nil {
		return err
	}
	slots := layout.Slots()
	slot := slots[max(0, slices.IndexFunc(slots, func(s layout.Slot) bool { return states[s].Running != "" }))]
	path, err := writeServingScript(ctx, h, "stop-serving.sh")
	if err != nil {
		return err
	}
	// One unit with the restart of etcd, so that the two never run at the same time.
	run := detached{what: "stop of the control plane", unit: layout.ReplaceEtcdUnit, log: "stop-serving.log", timeout: stopServingTimeout,
		properties: []string{startEnabled(servingRoles()...), fmt.Sprintf("RuntimeMaxSec=%d", int(stopServingTimeout.Seconds())-10)},
		command:    fmt.Sprintf("/bin/sh %s %s %s", path, slot.Name, layout.Helper(helper.Digest()))}
	if err := run.run(ctx, h); err != nil {
		return withJournal(ctx, h, slot.Etcd, pai.Errorf(pai.CodeOf(err), "bring back the etcd that is named, and run the same command again; to see the machines, run: paictl cluster status",
			"stop the control plane on %q: %w", h.Name(), err))
	}
	return nil
}

// writeServingScript writes a script that stops something of the control plane, with the functions
// that these scripts share, and returns its path.
func writeServingScript(ctx context.Context, h machine.Host, name string) (path string, err error) {
	script, err := servingScript(name)
	if err != nil {
		return "", err
	}
	path = layout.StateDir + "/" + name
	return path, h.WriteFile(ctx, path, script, 0o755)
}

// servingScript is a script with its functions, which take the place of a line.
func servingScript(name string) ([]byte, error) {
	script, err := embedded.ReadFile("scripts/" + name)
	if err != nil {
		return nil, err
	}
	functions, err := embedded.ReadFile("scripts/serving.sh")
	if err != nil {
		return nil, err
	}
	return []byte(strings.Replace(string(script), "%FUNCTIONS%\n", string(functions), 1)), nil
}

// startEnabled is a property of a transient unit: what is to run starts when the unit ends, also
// if its script is killed.
func startEnabled(roles ...plan.Role) string {
	var units []string
	for _, r := range roles {
		units = append(units, layout.Unit(r))
	}
	return machine.Quote("ExecStopPost=/bin/sh -c 'for u in " + strings.Join(units, " ") +
		"; do ! systemctl is-enabled -q $u || systemctl start --no-block $u; done'")
}
