package cli

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/plan"
)

// writeUnconfigured prints what was observed and is not in the configuration, and
// what of that is unknown. It prints nothing if there is neither.
func writeUnconfigured(p *ui.Page, w plan.World) {
	u := w.Unconfigured
	var rows [][3]string
	for _, n := range u.Nodes {
		rows = append(rows, [3]string{"node", n.Name, n.String()})
	}
	for _, m := range u.Machines {
		rows = append(rows, [3]string{"machine", m.Name, m.Address + ", in /etc/hosts of the control-plane machine"})
	}
	for _, name := range u.Maintained {
		rows = append(rows, [3]string{"maintenance", name, "recorded on the control-plane machine"})
	}
	for _, m := range u.EtcdMembers {
		rows = append(rows, [3]string{"etcd member", ui.OrDash(m.Name), m.String()})
	}
	for _, s := range u.Services {
		rows = append(rows, [3]string{"service", s.Name, fmt.Sprintf("release %s, %s", ui.OrDash(string(s.Release)), serviceState(s.Installed))})
	}
	if len(rows) > 0 {
		p.Linef("\nnot in the configuration; for what to do, run: paictl check")
		p.Row("KIND", "NAME", "STATE")
		for _, r := range rows {
			p.Row(r[0], r[1], r[2])
		}
	}
	if unknown := w.UnknownUnconfigured(); len(unknown) > 0 {
		p.Linef("\nnot in the configuration, unknown: %s", strings.Join(unknown, "; "))
	}
}
