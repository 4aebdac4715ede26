package config

import (
	"maps"
	"slices"

	"pai.dev/pai/internal/yamldoc"
)

func (r rules) machines() {
	names, addresses, controlPlane, workers := map[string]int{}, map[string]int{}, []int{}, 0
	for i, m := range r.c.Layout.MachineList {
		if first, twice := names[m.Hostname]; twice && m.Hostname != "" {
			r.problem(LayoutFile, machinePath(i, "hostname"), "hostname: %q is also the name of the machine on line %d",
				yamldoc.Shorten(m.Hostname), r.line(LayoutFile, machinePath(first, "hostname")))
		} else {
			names[m.Hostname] = i
		}
		if first, twice := addresses[m.HostIP]; twice && m.HostIP != "" {
			r.problem(LayoutFile, machinePath(i, "hostip"), "hostip: %s is also the address of %s on line %d",
				yamldoc.Shorten(m.HostIP), yamldoc.Shorten(r.c.Layout.MachineList[first].Hostname), r.line(LayoutFile, machinePath(first, "hostip")))
		} else {
			addresses[m.HostIP] = i
		}
		if _, known := r.c.Layout.MachineSKU[m.MachineType]; m.MachineType != "" && !known {
			r.problem(LayoutFile, machinePath(i, "machine-type"), "machine-type: %q not found in machine-sku%s",
				yamldoc.Shorten(m.MachineType), suggestSKU(m.MachineType, r.c.Layout.MachineSKU))
		}
		switch m.Role {
		case RoleControlPlane:
			controlPlane = append(controlPlane, i)
		case RoleWorker:
			workers++
		}
	}
	if workers > 0 && workers == len(r.c.Layout.MachineList) {
		r.problem(LayoutFile, "machine-list", "machine-list: no machine has k8s-role: %s; exactly one is required", RoleControlPlane)
	}
	if n := len(controlPlane); n > 0 && n%2 == 0 {
		r.problem(LayoutFile, "machine-list", "machine-list: %d machines have k8s-role: %s; an even number cannot outvote a lost machine: use %d", n, RoleControlPlane, n-1)
	}
	for _, i := range controlPlane[min(1, len(controlPlane)):] {
		r.problem(LayoutFile, machinePath(i, "k8s-role"), "k8s-role: only one machine can be %s, and line %d has it: this release supports one control-plane machine",
			RoleControlPlane, r.line(LayoutFile, machinePath(controlPlane[0], "k8s-role")))
	}
}

func suggestSKU(name string, known map[string]SKU) string {
	if len(known) == 0 {
		return "; machine-sku is empty"
	}
	return suggestOrList(name, slices.Collect(maps.Keys(known)))
}

// passwords recommends keys.
func (r rules) passwords() {
	t := r.trees[LayoutFile]
	for i, m := range r.c.Layout.MachineList {
		if m.Password != "" && m.KeyfilePath == "" {
			t.note(t.at(machinePath(i, "password")), "password: a key is safer; name the key with keyfile-path, and run: ssh-copy-id %s@%s",
				yamldoc.Shorten(m.Username), yamldoc.Shorten(m.HostIP))
		}
	}
}
