package inspect

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// unit is a unit as systemd sees it.
type unit struct {
	state       string // ActiveState
	pid         int
	needsReload bool
	killMode    string
}

// active is what `systemctl is-active` calls active.
func (u unit) active() bool { return u.state == "active" || u.state == "reloading" }

// units asks systemd for units. A unit that does not exist is inactive.
func (i *inspection) units(ctx context.Context, names ...string) (map[string]unit, error) {
	if len(names) == 0 {
		return nil, nil
	}
	out, err := i.Run(ctx, "systemctl", append([]string{"show", "-p", "Id,ActiveState,MainPID,NeedDaemonReload,KillMode", "--"}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("ask systemd for the units: %w", err)
	}
	found := map[string]unit{}
	for block := range strings.SplitSeq(out, "\n\n") {
		properties := map[string]string{}
		for line := range strings.Lines(block) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			properties[key] = value
		}
		u := unit{state: properties["ActiveState"], needsReload: properties["NeedDaemonReload"] == "yes", killMode: properties["KillMode"]}
		if pid := properties["MainPID"]; pid != "" {
			if u.pid, err = strconv.Atoi(pid); err != nil {
				return nil, fmt.Errorf("read the main process of %s: %w", properties["Id"], err)
			}
		}
		found[properties["Id"]] = u
	}
	for _, name := range names {
		if found[name].state == "" {
			return nil, fmt.Errorf("systemd does not report the state of %s", name)
		}
	}
	return found, nil
}
