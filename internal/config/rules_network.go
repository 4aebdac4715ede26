package config

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/layout"
)

// The API server accepts service ranges with at most 20 bits for addresses
// (kube-apiserver --service-cluster-ip-range), and the controller manager gives
// every machine a /24 of the pod range (--node-cidr-mask-size).
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
		r.problem(KubernetesFile, podPath, "pod-cluster-ip-range: %s is smaller than the /%d that each machine needs", pods, machinePodBits)
	} else if okP && machines > 1<<(machinePodBits-pods.Bits()) {
		r.problem(KubernetesFile, podPath, "pod-cluster-ip-range: %s has a /%d for %d machines, and machine-list has %d", pods, machinePodBits, 1<<(machinePodBits-pods.Bits()), machines)
	}
	if okS && okP && services.Overlaps(pods) {
		r.problem(KubernetesFile, podPath, "pod-cluster-ip-range: %s overlaps service-cluster-ip-range %s", pods, services)
	}
	if dns, err := netip.ParseAddr(r.c.Kubernetes.ClusterDNS); err == nil && okS {
		first := services.Addr().Next() // of the service "kubernetes"
		if !services.Contains(dns) || dns == services.Addr() || dns == first {
			r.problem(KubernetesFile, "kubernetes.cluster-dns", "cluster-dns: %s must be in service-cluster-ip-range %s, after its first address; without the key it is %s", dns, services, clusterDNS(services.String()))
		}
	}
	for i, m := range r.c.Layout.MachineList {
		a, err := netip.ParseAddr(m.HostIP)
		if err != nil {
			continue
		}
		if okS && services.Contains(a) {
			r.problem(LayoutFile, machinePath(i, "hostip"), "hostip: %s is in service-cluster-ip-range %s: change that range", a, services)
		}
		if okP && pods.Contains(a) {
			r.problem(LayoutFile, machinePath(i, "hostip"), "hostip: %s is in pod-cluster-ip-range %s: change that range", a, pods)
		}
	}
}

func parseRange(value string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(value)
	return p, err == nil && p.Addr().Is4() && p.Masked() == p
}

// takenPorts are the TCP ports that Kubernetes and PAI listen on, with the
// component that uses each.
func takenPorts() map[int]string {
	taken := map[int]string{}
	for _, p := range layout.TCPPorts() {
		taken[p.Number] = p.Component
	}
	return taken
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
		{ServicesFile, "webportal.server-port", "webportal.server-port", r.c.Services.Webportal.ServerPort, true},
		{ServicesFile, "prometheus.port", "prometheus.port", r.c.Services.Prometheus.Port, true},
		{ServicesFile, "node-exporter.port", "node-exporter.port", r.c.Services.NodeExporter.Port, false},
	}
	low, high, ok := parsePortRange(r.c.Kubernetes.ServiceNodePortRange)
	for i, u := range used {
		if program, taken := takenPorts()[u.port]; taken {
			r.problem(u.file, u.path, "%s: port %d is used by %s", u.name, u.port, program)
		}
		if j := slices.IndexFunc(used[:i], func(o usedPort) bool { return o.port == u.port }); j >= 0 {
			r.problem(u.file, u.path, "%s: port %d is also %s", u.name, u.port, used[j].name)
		}
		if ok && u.nodePort && (u.port < low || u.port > high) {
			r.problem(u.file, u.path, "%s: port %d is outside service-node-port-range %d-%d", u.name, u.port, low, high)
		}
	}
	if !ok {
		return
	}
	if api := r.c.Kubernetes.APIServersPort; api >= low && api <= high {
		r.problem(KubernetesFile, "kubernetes.api-servers-port", "api-servers-port: %d is in service-node-port-range %d-%d, which is for services", api, low, high)
	}
	var inside []string
	for _, port := range slices.Sorted(maps.Keys(takenPorts())) {
		if port >= low && port <= high {
			inside = append(inside, strconv.Itoa(port))
		}
	}
	if len(inside) > 0 {
		r.problem(KubernetesFile, "kubernetes.service-node-port-range", "service-node-port-range: %d-%d contains ports that Kubernetes itself needs: %s", low, high, strings.Join(inside, ", "))
	}
}
