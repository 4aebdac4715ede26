package config

import (
	"maps"
	"slices"

	"pai.dev/pai/internal/pai"
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
		r.problem(LayoutFile, "machine-list", "machine-list: no machine has k8s-role: %s; use 1, 3, or 5", RoleControlPlane)
	}
	r.controlPlanes(controlPlane)
}

// MaxControlPlanes is the largest number of control-plane machines. etcd slows down with
// each voter, and five survive the loss of two (etcd.io/docs, FAQ).
const MaxControlPlanes = 5

// severalControlPlanesSince is the first version whose programs run beside others of their
// kind.
const severalControlPlanesSince = pai.KubernetesVersion("v0.11-pai")

// controlPlanes checks the machines that have k8s-role: master, by their places in the list.
func (r rules) controlPlanes(list []int) {
	n := len(list)
	switch v := r.c.Kubernetes.Version; {
	case n <= 1:
	case n > MaxControlPlanes:
		r.problem(LayoutFile, "machine-list", "machine-list: %d machines have k8s-role: %s; use 1, 3, or 5", n, RoleControlPlane)
	case n%2 == 0:
		r.problem(LayoutFile, "machine-list", "machine-list: %d machines have k8s-role: %s; an even number cannot outvote a lost machine: use %d", n, RoleControlPlane, n-1)
	case v != "" && v.Less(severalControlPlanesSince):
		r.problem(LayoutFile, machinePath(list[1], "k8s-role"), "k8s-role: several machines can be %s from Kubernetes %s on, and the configuration has %s",
			RoleControlPlane, severalControlPlanesSince, v)
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
