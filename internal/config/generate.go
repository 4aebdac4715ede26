package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// FoundMachine is a machine that was reached, with what it reported.
type FoundMachine struct {
	Machine   Machine // its address and ssh settings; the rest is filled in
	Hostname  string  // its own name
	Cores     int
	MemoryMiB int
	GPUs      []string // the kind of each
	Disks     []string // informational
	OS        string
}

// Generate makes a whole configuration for the machines that were found. The
// first one is the control-plane machine. Machines with the same hardware get
// one SKU. The ranges are the defaults, or others if those contain the address
// of a machine.
func Generate(clusterID string, pair pai.Pair, found []FoundMachine, trustedKeys []string) Config {
	var machines []Machine
	skus, names := map[string]SKU{}, map[string]bool{}
	for i, f := range found {
		m := f.Machine
		m.Hostname = hostname(f, names)
		names[m.Hostname] = true
		m.Role = RoleWorker
		if i == 0 {
			m.Role = RoleControlPlane
		}
		name, sku := skuOf(f)
		skus[name], m.MachineType = sku, name
		m.About = about(f)
		machines = append(machines, m)
	}
	c := New(clusterID, pair, machines, trustedKeys)
	c.Layout.MachineSKU = skus
	c.Kubernetes.PodClusterIPRange = freeRange(machines, DefaultPodRange, "10.245.0.0/16", "172.20.0.0/16", "192.168.0.0/16")
	c.Kubernetes.ServiceClusterIPRange = freeRange(machines, DefaultServiceRange, "10.97.0.0/16", "172.21.0.0/16", "169.254.0.0/16")
	c.Kubernetes.ClusterDNS = clusterDNS(c.Kubernetes.ServiceClusterIPRange)
	return c
}

// hostname is the own name of a machine if it is valid, or one made of its
// address.
func hostname(f FoundMachine, taken map[string]bool) string {
	name := ownName(f)
	if labels(63).check(name) == "" && !taken[name] && name != "localhost" {
		return name
	}
	return "pai-" + strings.ReplaceAll(f.Machine.HostIP, ".", "-")
}

// ownName is the name that a machine gives itself, without its domain.
func ownName(f FoundMachine) string {
	name, _, _ := strings.Cut(strings.ToLower(f.Hostname), ".")
	return name
}

// skuOf names a SKU by its hardware: "c24-m224-4xtesla-k80".
func skuOf(f FoundMachine) (string, SKU) {
	sku := SKU{Mem: max(1, f.MemoryMiB/1024), CPU: SKUCPU{VCore: max(1, f.Cores)}}
	name := fmt.Sprintf("c%d-m%d", sku.CPU.VCore, sku.Mem)
	if len(f.GPUs) > 0 {
		sku.GPU = &SKUGPU{Type: wordOf(f.GPUs[0]), Count: len(f.GPUs)}
		name += fmt.Sprintf("-%dx%s", sku.GPU.Count, sku.GPU.Type)
	}
	return strings.TrimRight(name[:min(len(name), 63)], "-._"), sku
}

// wordOf turns the GPU name of a driver into a word: "tesla-k80".
func wordOf(s string) string {
	s = strings.Trim(strings.Map(func(r rune) rune {
		if r < 128 && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_') {
			return r
		}
		return '-'
	}, strings.ToLower(s)), "-._")
	if s = strings.TrimRight(s[:min(len(s), 40)], "-._"); s == "" {
		return "gpu"
	}
	return s
}

// about is the comment beside a machine.
func about(f FoundMachine) string {
	return oneLine(strings.Join(append([]string{f.OS}, f.Disks...), ", "))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// freeRange is the first range without the address of a machine. If there is
// none it is the first of all, and a check reports it.
func freeRange(machines []Machine, ranges ...string) string {
	for _, r := range ranges {
		p, ok := parseRange(r)
		if ok && !slices.ContainsFunc(machines, func(m Machine) bool {
			a, err := netip.ParseAddr(m.HostIP)
			return err == nil && p.Contains(a)
		}) {
			return r
		}
	}
	return ranges[0]
}
