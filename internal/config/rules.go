package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/yamldoc"
)

// rules holds the whole configuration against what must be true between its
// values. A value that is wrong by itself has been named already and is
// skipped here.
type rules struct {
	c     *Config
	trees map[string]*tree
	known []Release
}

func checkRules(c *Config, trees map[string]*tree, known []Release) {
	r := rules{c, trees, known}
	r.machines()
	r.passwords()
	r.shares()
	r.versions()
	r.ranges()
	r.ports()
}

func (r rules) problem(file, path, format string, args ...any) {
	t := r.trees[file]
	t.problem(t.at(path), format, args...)
}

func (r rules) line(file, path string) int { return r.trees[file].at(path).Line }

func machinePath(i int, name string) string { return fmt.Sprintf("machine-list[%d].%s", i, name) }

func (r rules) machines() {
	names, addresses, masters, workers := map[string]int{}, map[string]int{}, []int{}, 0
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
			r.problem(LayoutFile, machinePath(i, "machine-type"), "machine-type: there is no %q in machine-sku%s",
				yamldoc.Shorten(m.MachineType), suggestSKU(m.MachineType, r.c.Layout.MachineSKU))
		}
		switch m.Role {
		case RoleControlPlane:
			masters = append(masters, i)
		case RoleWorker:
			workers++
		}
	}
	if workers > 0 && workers == len(r.c.Layout.MachineList) {
		r.problem(LayoutFile, "machine-list", "machine-list: no machine has k8s-role: %s; one must", RoleControlPlane)
	}
	if len(masters) > 0 && len(masters)%2 == 0 {
		r.problem(LayoutFile, "machine-list", "machine-list: %d machines have k8s-role: %s; an even number cannot outvote a lost one: make it %d",
			len(masters), RoleControlPlane, len(masters)-1)
	}
	for _, i := range masters[min(1, len(masters)):] {
		r.problem(LayoutFile, machinePath(i, "k8s-role"), "k8s-role: only one machine may be %s for now, and line %d has it: PAI does not run several control-plane machines yet",
			RoleControlPlane, r.line(LayoutFile, machinePath(masters[0], "k8s-role")))
	}
}

func suggestSKU(name string, known map[string]SKU) string {
	if len(known) == 0 {
		return ", which is empty"
	}
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	return suggestOrList(name, names)
}

// The API server takes service ranges with 20 bits for addresses at most
// (kube-apiserver --service-cluster-ip-range), and the controller manager
// gives every machine a /24 of the pod range (--node-cidr-mask-size).
const (
	widestServiceRange = 12
	tightServiceRange  = 26
	machinePodBits     = 24
)

func (r rules) ranges() {
	services, okS := parseRange(r.c.Kubernetes.ServiceClusterIPRange)
	pods, okP := parseRange(r.c.Kubernetes.PodClusterIPRange)
	const servicePath, podPath = "kubernetes.service-cluster-ip-range", "kubernetes.pod-cluster-ip-range"
	if okS && (services.Bits() < widestServiceRange || services.Bits() > tightServiceRange) {
		r.problem(KubernetesFile, servicePath, "service-cluster-ip-range: %s must be between /%d and /%d", services, widestServiceRange, tightServiceRange)
	}
	if machines := len(r.c.Layout.MachineList); okP && pods.Bits() > machinePodBits {
		r.problem(KubernetesFile, podPath, "pod-cluster-ip-range: %s is smaller than the /%d that each machine takes of it", pods, machinePodBits)
	} else if okP && machines > 1<<(machinePodBits-pods.Bits()) {
		r.problem(KubernetesFile, podPath, "pod-cluster-ip-range: %s has a /%d for %d machines, and machine-list has %d", pods, machinePodBits, 1<<(machinePodBits-pods.Bits()), machines)
	}
	if okS && okP && services.Overlaps(pods) {
		r.problem(KubernetesFile, podPath, "pod-cluster-ip-range: %s overlaps service-cluster-ip-range %s", pods, services)
	}
	if dns, err := netip.ParseAddr(r.c.Kubernetes.ClusterDNS); err == nil && okS {
		first := services.Addr().Next() // the API's own service has it
		if !services.Contains(dns) || dns == services.Addr() || dns == first {
			r.problem(KubernetesFile, "kubernetes.cluster-dns", "cluster-dns: %s must lie in service-cluster-ip-range %s, beyond its first address; leave the key out for %s", dns, services, clusterDNS(services.String()))
		}
	}
	for i, m := range r.c.Layout.MachineList {
		a, err := netip.ParseAddr(m.HostIP)
		if err != nil {
			continue
		}
		if okS && services.Contains(a) {
			r.problem(LayoutFile, machinePath(i, "hostip"), "hostip: %s lies in service-cluster-ip-range %s: change that range", a, services)
		}
		if okP && pods.Contains(a) {
			r.problem(LayoutFile, machinePath(i, "hostip"), "hostip: %s lies in pod-cluster-ip-range %s: change that range", a, pods)
		}
	}
}

func parseRange(value string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(value)
	return p, err == nil && p.Addr().Is4() && p.Masked() == p
}

// takenPorts are those that Kubernetes and PAI themselves listen on, on a
// machine's address or its loopback.
func takenPorts() map[int]string {
	return map[int]string{
		22: "ssh", 2379: "etcd", 2380: "etcd", 2389: "etcd", 2390: "etcd",
		6444: "the API server", 6445: "the API server",
		10248: "kubelet", 10249: "kube-proxy", 10250: "kubelet", 10256: "kube-proxy",
		10257: "the controller manager", 10259: "the scheduler",
	}
}

type usedPort struct {
	file, path, name string
	port             int
	nodePort         bool
}

func (r rules) ports() {
	used := []usedPort{
		{KubernetesFile, "kubernetes.api-servers-port", "api-servers-port", r.c.Kubernetes.APIServersPort, false},
		{ServicesFile, "rest-server.server-port", "rest-server.server-port", r.c.Services.RestServer.ServerPort, true},
		{ServicesFile, "prometheus.port", "prometheus.port", r.c.Services.Prometheus.Port, true},
		{ServicesFile, "node-exporter.port", "node-exporter.port", r.c.Services.NodeExporter.Port, false},
	}
	low, high, ok := parsePortRange(r.c.Kubernetes.ServiceNodePortRange)
	for i, u := range used {
		if who, taken := takenPorts()[u.port]; taken {
			r.problem(u.file, u.path, "%s: port %d is taken by %s", u.name, u.port, who)
		}
		if j := slices.IndexFunc(used[:i], func(o usedPort) bool { return o.port == u.port }); j >= 0 {
			r.problem(u.file, u.path, "%s: port %d is also %s", u.name, u.port, used[j].name)
		}
		if ok && u.nodePort && (u.port < low || u.port > high) {
			r.problem(u.file, u.path, "%s: port %d is outside service-node-port-range %d-%d", u.name, u.port, low, high)
		}
	}
	if api := r.c.Kubernetes.APIServersPort; ok && api >= low && api <= high {
		r.problem(KubernetesFile, "kubernetes.api-servers-port", "api-servers-port: %d lies in service-node-port-range %d-%d, which services take ports from", api, low, high)
	}
	if !ok {
		return
	}
	var inside []string
	for _, port := range slices.Sorted(maps.Keys(takenPorts())) {
		if port >= low && port <= high {
			inside = append(inside, strconv.Itoa(port))
		}
	}
	if len(inside) > 0 {
		r.problem(KubernetesFile, "kubernetes.service-node-port-range", "service-node-port-range: %d-%d has ports in it that Kubernetes itself needs: %s", low, high, strings.Join(inside, ", "))
	}
}
