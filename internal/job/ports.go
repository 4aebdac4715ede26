package job

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Reserved ports are numbers in the network of a task, which has an address for itself:
// two tasks never compete for a port, also on one machine. Within a task, the numbers
// are below those that Linux gives to outgoing connections (from 32768), so that none
// is in use before the task listens on it. No two task roles have a number in common, so
// that a number means one thing in a job.
const (
	firstPort = 20000
	portRange = 10000

	portSSH  = "ssh"
	portHTTP = "http"
)

// ports reads the ports of a task role. Each task has one port for ssh and one for
// http, also if it names none.
func (o object) ports() []Port {
	ports := []Port{{Name: portSSH, Count: 1}, {Name: portHTTP, Count: 1}}
	if n := o.get("ports"); n == nil || n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return ports
	}
	named := o.nested("ports")
	total := 0
	for _, name := range named.names {
		if !roleNamePattern.MatchString(name) || len(name) > 255 {
			named.problemKey(name, "the name of a port can have letters, digits, and _ only, and cannot start with a digit")
			continue
		}
		count := int(named.integer(name, 0, 0, MaxPorts))
		total += count
		switch name {
		case portSSH:
			ports[0].Count = max(1, count)
		case portHTTP:
			ports[1].Count = max(1, count)
		default:
			if count > 0 {
				ports = append(ports, Port{Name: name, Count: count})
			}
		}
	}
	if total > MaxPorts {
		o.problemValue("ports", "each task reserves %d ports; the limit is %d", total, MaxPorts)
	}
	return ports
}

// portsOf is how many ports the task roles reserve.
func (j *Spec) portsOf() (n int) {
	for _, role := range j.TaskRoles {
		for _, p := range role.Ports {
			n += p.Count
		}
	}
	return n
}

func (j *Spec) assignPorts() {
	next := firstPort
	for _, role := range j.TaskRoles {
		var named []string
		for i := range role.Ports {
			p := &role.Ports[i]
			p.First = next
			next += p.Count
			if p.Name != portSSH && p.Name != portHTTP {
				named = append(named, p.Name+" "+p.list())
			}
		}
		if len(named) > 0 {
			j.effect("taskRoles."+role.Name+".resourcePerInstance.ports", "each task has for itself: %s", strings.Join(named, "; "))
		}
	}
}

// list is the numbers of a port, separated by commas.
func (p Port) list() string {
	numbers := make([]string, p.Count)
	for i := range numbers {
		numbers[i] = strconv.Itoa(p.First + i)
	}
	return strings.Join(numbers, ",")
}

// reserves reports whether a task role asked for ports.
func (r TaskRole) reserves() bool {
	for i, p := range r.Ports {
		if i > 1 || p.Count > 1 {
			return true
		}
	}
	return false
}

func (j *Spec) effect(path, format string, args ...any) {
	j.Effects = append(j.Effects, Effect{path, fmt.Sprintf(format, args...)})
}
