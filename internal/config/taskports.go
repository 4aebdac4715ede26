package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxTaskEntries bounds task-networks and task-ports: each entry is a rule that new
// connections of tasks pass.
const maxTaskEntries = 64

// TaskPort is an entry of task-ports: ports that tasks reach at the addresses they
// connect to.
type TaskPort struct {
	To          netip.Prefix
	Protocol    string // tcp or udp
	First, Last int
}

// ParseTaskPort reads an entry of task-ports: "10.0.0.5:2049/tcp" or
// "10.0.0.0/28:9000-9010/udp".
func ParseTaskPort(text string) (TaskPort, bool) {
	where, protocol, ok := cutLast(text, "/")
	if !ok || protocol != "tcp" && protocol != "udp" {
		return TaskPort{}, false
	}
	address, ports, ok := strings.Cut(where, ":")
	if !ok {
		return TaskPort{}, false
	}
	p := TaskPort{Protocol: protocol}
	if p.To, ok = parseRange(address); !ok {
		a, err := netip.ParseAddr(address)
		if err != nil || !a.Is4() {
			return TaskPort{}, false
		}
		p.To = netip.PrefixFrom(a, a.BitLen())
	}
	if p.First, p.Last, ok = parsePortRange(ports); !ok {
		n, err := strconv.Atoi(ports)
		if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != ports {
			return TaskPort{}, false
		}
		p.First, p.Last = n, n
	}
	return p, true
}

func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}

func taskPorts() format {
	return format{name: "`ADDRESS:PORT/tcp` or `/udp`", schema: map[string]any{"pattern": `^[0-9]+(\.[0-9]+){3}(/[0-9]+)?:[0-9]+(-[0-9]+)?/(tcp|udp)$`}, check: func(value string) string {
		_, ok := ParseTaskPort(value)
		return problemUnless(ok, "%s is not a port such as 10.0.0.5:2049/tcp or 10.0.0.0/28:9000-9010/udp", quoted(value))
	}}
}

// tasks checks what tasks reach.
func (r rules) tasks() {
	const networks, ports = "kubernetes.task-networks", "kubernetes.task-ports"
	pods, okP := parseRange(r.c.Kubernetes.PodClusterIPRange)
	services, okS := parseRange(r.c.Kubernetes.ServiceClusterIPRange)
	for _, l := range []struct {
		path    string
		entries int
	}{{networks, len(r.c.Kubernetes.TaskNetworks)}, {ports, len(r.c.Kubernetes.TaskPorts)}} {
		if l.entries > maxTaskEntries {
			r.problem(KubernetesFile, l.path, "%s: %d entries, but there can be at most %d", strings.TrimPrefix(l.path, "kubernetes."), l.entries, maxTaskEntries)
		}
	}
	for i, text := range r.c.Kubernetes.TaskNetworks {
		if p, ok := parseRange(text); ok && (okP && within(p, pods) || okS && within(p, services)) {
			r.problem(KubernetesFile, index(networks, i), "task-networks: %s is in the cluster, where tasks reach only their own job; open single ports with task-ports", p)
		}
	}
	for i, text := range r.c.Kubernetes.TaskPorts {
		if p, ok := ParseTaskPort(text); ok && okP && p.To.Overlaps(pods) {
			r.problem(KubernetesFile, index(ports, i), "task-ports: %s has addresses of pods, which change; name the address of the service", p.To)
		}
	}
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// within reports whether all addresses of a range are in another one.
func within(p, in netip.Prefix) bool { return in.Bits() <= p.Bits() && in.Contains(p.Addr()) }
