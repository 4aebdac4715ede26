package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// The gate keeps kubelets out of a restored control plane. A kubelet ends each
// container whose pod the API server does not have, and starts each pod that it has
// and the machine does not. So a machine is let in once its containers were compared
// with the restored data. The gate is a table of nftables: it holds for every release
// of the proxy, for machines that PAI cannot reach, and after a reboot, because the
// proxy does not start without it.
const (
	gateUnit  = layout.UnitPrefix + "gate.service"
	gateTable = "inet pai-gate"
	// podBridge is the interface of the pods of this machine, which use its API server.
	podBridge = "pai0"
)

const gateUnitFile = `# Written by PAI.
[Unit]
Description=PAI: keeps machines out until they were compared with the restored data
DefaultDependencies=no
After=local-fs.target
Before=pai-api-proxy.service network.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'exec nft -f ` + layout.GateFile + `'
ExecStop=-/bin/sh -c 'exec nft delete table ` + gateTable + `'

[Install]
WantedBy=multi-user.target
RequiredBy=pai-api-proxy.service
`

// gateRules are the rules that let in the machines with these addresses.
func gateRules(port int, allowed []netip.Addr) string {
	var four, six []string
	for _, a := range allowed {
		if a.Is4() {
			four = append(four, a.String())
		} else {
			six = append(six, a.String())
		}
	}
	var b strings.Builder
	// The first line makes the table exist, so that the second one can delete it.
	fmt.Fprintf(&b, "table %[1]s\ndelete table %[1]s\ntable %[1]s {\n", gateTable)
	b.WriteString("\tchain input {\n\t\ttype filter hook input priority -150; policy accept;\n")
	fmt.Fprintf(&b, "\t\ttcp dport != %d accept\n\t\tiifname { \"lo\", \"%s\" } accept\n", port, podBridge)
	if len(four) > 0 {
		fmt.Fprintf(&b, "\t\tip saddr { %s } accept\n", strings.Join(four, ", "))
	}
	if len(six) > 0 {
		fmt.Fprintf(&b, "\t\tip6 saddr { %s } accept\n", strings.Join(six, ", "))
	}
	b.WriteString("\t\treject with tcp reset\n\t}\n}\n")
	return b.String()
}

var gateAddresses = regexp.MustCompile(`(?m)^\t\tip6? saddr \{ ([^}]*) \} accept$`)

// readGate returns the addresses that the gate lets in. shut is false if there is no
// gate, so that every machine is let in.
func readGate(ctx context.Context, h machine.Host) (allowed []netip.Addr, shut bool, err error) {
	data, err := h.ReadFile(ctx, layout.GateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read the gate of %q: %w", h.Name(), err)
	}
	for _, m := range gateAddresses.FindAllStringSubmatch(string(data), -1) {
		for _, text := range strings.Split(m[1], ", ") {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, true, fmt.Errorf("read %s of %q: %w", layout.GateFile, h.Name(), err)
			}
			allowed = append(allowed, a)
		}
	}
	return allowed, true, nil
}

// writeGate lets in exactly these addresses, and makes the proxy depend on the gate.
func writeGate(ctx context.Context, h machine.Host, port int, allowed []netip.Addr) error {
	if err := h.WriteFile(ctx, layout.GateFile, []byte(gateRules(port, allowed)), 0o644); err != nil {
		return err
	}
	if err := h.WriteFile(ctx, layout.UnitsDir+"/"+gateUnit, []byte(gateUnitFile), 0o644); err != nil {
		return err
	}
	_, err := sh(ctx, h, `systemctl daemon-reload
SYSTEMD_OFFLINE=1 systemctl enable -q %[1]s
systemctl daemon-reload
systemctl start %[1]s
nft -f %[2]s`, gateUnit, layout.GateFile)
	if err != nil {
		return fmt.Errorf("keep machines out of the restored API server of %q: %w", h.Name(), err)
	}
	return nil
}

// gateHolds reports whether the kernel has the rules of the gate.
func gateHolds(ctx context.Context, h machine.Host) (bool, error) {
	out, err := sh(ctx, h, "systemctl is-active -q %s && nft list table %s 2>/dev/null | grep -q 'reject with tcp reset' && echo holds || :", gateUnit, gateTable)
	return out == "holds", err
}

// removeGate lets every machine in. The proxy must not need the gate any more when that
// stops, because it would stop as well.
func removeGate(ctx context.Context, h machine.Host) error {
	_, err := sh(ctx, h, `SYSTEMD_OFFLINE=1 systemctl disable -q %[1]s 2>/dev/null || :
systemctl daemon-reload
systemctl stop %[1]s 2>/dev/null || :
nft delete table %[2]s 2>/dev/null || :
rm -f %[3]s/%[1]s
systemctl daemon-reload
rm -f %[4]s`, gateUnit, gateTable, layout.UnitsDir, layout.GateFile)
	if err != nil {
		return fmt.Errorf("let the machines use the restored API server of %q: %w", h.Name(), err)
	}
	return nil
}

// letIn adds a machine to those that the gate lets in.
func (c *cluster) letIn(ctx context.Context, control machine.Host, m config.Machine) error {
	address, err := netip.ParseAddr(m.HostIP)
	if err != nil {
		return fmt.Errorf("the address of %q: %w", m.Hostname, err)
	}
	c.gate.Lock() // machines are admitted in parallel
	defer c.gate.Unlock()
	allowed, shut, err := readGate(ctx, control)
	if err != nil || !shut {
		return err
	}
	// A run that was killed may have written the file and not changed the kernel.
	if !slices.Contains(allowed, address) {
		allowed = append(allowed, address)
	}
	return writeGate(ctx, control, c.Config.Kubernetes.APIServersPort, allowed)
}

// isLetIn reports whether the gate lets a machine in.
func isLetIn(ctx context.Context, control machine.Host, m config.Machine) (bool, error) {
	allowed, shut, err := readGate(ctx, control)
	if err != nil || !shut {
		return err == nil, err
	}
	address, err := netip.ParseAddr(m.HostIP)
	return err == nil && slices.Contains(allowed, address), err
}
