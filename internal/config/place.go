package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// Targets are the machines at addresses, before they are reached, with these settings of ssh.
// The problems are those of the addresses that cannot be added.
func (c *Config) Targets(addresses []string, reach Machine) (targets []Machine, problems []string) {
	seen := map[string]bool{}
	for _, address := range addresses {
		at := slices.IndexFunc(c.Layout.MachineList, func(m Machine) bool { return m.HostIP == address || m.Hostname == address })
		switch wrong := checkAddress(address); {
		case seen[address]:
			problems = append(problems, address+" is named twice")
		case at >= 0:
			m := c.Layout.MachineList[at]
			problems = append(problems, fmt.Sprintf("%s is in the layout already, as %s (%s)", address, m.Hostname, m.HostIP))
		case wrong != "":
			problems = append(problems, wrong)
		default:
			m := reach
			m.HostIP = address
			targets = append(targets, m)
		}
		seen[address] = true
	}
	return targets, problems
}

// Place finds the name and the machine-type of machines that a configuration gets. The type is
// the named SKU, or else the one that has their hardware exactly, or else a new one.
// The problems are those of the names and of the SKU.
func (c *Config) Place(found []FoundMachine, sku string) (a Additions, problems []string) {
	if _, exists := c.Layout.MachineSKU[sku]; sku != "" && !exists {
		problems = append(problems, fmt.Sprintf("%q not found in machine-sku%s", sku, suggestSKU(sku, c.Layout.MachineSKU)))
	}
	takenBy := map[string]string{}
	for _, m := range c.Layout.MachineList {
		takenBy[m.Hostname] = m.HostIP + " in the layout"
	}
	a.SKUs = map[string]SKU{}
	for _, f := range found {
		m := f.Machine
		m.Hostname, m.Role, m.About = ownName(f), RoleWorker, about(f)
		if wrong := labels(63).check(m.Hostname); wrong != "" || m.Hostname == "localhost" {
			if wrong == "" {
				wrong = fmt.Sprintf("%q is the name of each machine for itself", m.Hostname)
			}
			problems = append(problems, fmt.Sprintf("%s: its host name cannot be the name of a machine: %s", m.HostIP, wrong))
		} else if other := takenBy[m.Hostname]; other != "" {
			problems = append(problems, fmt.Sprintf("%s: its host name %s is also that of %s", m.HostIP, m.Hostname, other))
		} else {
			takenBy[m.Hostname] = m.HostIP
		}
		if m.MachineType = sku; sku == "" {
			m.MachineType = c.kindOf(f, a.SKUs)
		}
		a.Machines = append(a.Machines, m)
	}
	return a, problems
}

// kindOf names the SKU with the hardware of a machine. One that neither the configuration nor
// added has is added.
func (c *Config) kindOf(f FoundMachine, added map[string]SKU) string {
	usual, want := skuOf(f)
	for _, known := range []map[string]SKU{c.Layout.MachineSKU, added} {
		if have, exists := known[usual]; exists && sameHardware(have, want) {
			return usual
		}
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if sameHardware(known[name], want) {
				return name
			}
		}
	}
	name := usual
	for n := 2; ; n++ {
		_, exists := c.Layout.MachineSKU[name]
		if _, twice := added[name]; !exists && !twice {
			added[name] = want
			return name
		}
		suffix := fmt.Sprintf("-%d", n)
		name = usual[:min(len(usual), 63-len(suffix))] + suffix
	}
}

// sameHardware compares the model of GPUs by its letters and digits: "teslak80" is what a
// driver calls "Tesla K80".
func sameHardware(a, b SKU) bool {
	if a.Mem != b.Mem || a.CPU != b.CPU || (a.GPU == nil) != (b.GPU == nil) {
		return false
	}
	return a.GPU == nil || a.GPU.Count == b.GPU.Count && essence(a.GPU.Type) == essence(b.GPU.Type)
}

func essence(model string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, model)
}
