package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
)

func machineChecks() []Check {
	return []Check{
		{"machine-reachable", "every machine is reachable", Upgrade, reachable},
		{"machine-time", "the clocks of the machines agree", Boot | Upgrade, clocks},
		{"machine-disk", "there is enough free disk space", always, disks},
		{"machine-memory", "there is enough memory for a second API server and etcd", Boot | Upgrade, memories},
		{"machine-ports", "the ports are free or used by PAI", Boot | Upgrade | alsoOnResume, ports},
	}
}

// reachable is the only check that reports an unreachable machine.
func reachable(_ context.Context, w *world) ([]Result, error) {
	var all []Result
	for _, m := range w.Config.Layout.MachineList {
		fix := fmt.Sprintf("make sure that it runs; to test the connection, run: ssh %s@%s", m.Username, m.HostIP)
		switch o := w.observed(m.Hostname); {
		case w.Hosts[m.Hostname] == nil:
			all = append(all, failed(m.Hostname, fix, "%s is unreachable, so the state of the machine is unknown", m.HostIP))
		case o.Unreachable != "":
			all = append(all, failed(m.Hostname, fix, "%s", firstLine(o.Unreachable)))
		default:
			all = append(all, okay(m.Hostname, "%s is reachable", m.HostIP))
		}
	}
	return all, nil
}

// Limits for the difference of clocks. Leases and logs of Kubernetes need precise
// clocks, as do tokens and certificates that become valid.
const (
	clockWarn = time.Second
	clockFail = 5 * time.Second
	// hostClockFail is the limit between the control-plane machine and this host.
	hostClockFail = time.Minute
)

// clocks compares the clock of each machine with that of the first reachable control-plane
// machine.
func clocks(ctx context.Context, w *world) ([]Result, error) {
	first := w.Config.ControlPlane().Hostname
	for _, m := range w.Config.ControlPlanes() {
		if w.Hosts[m.Hostname] != nil {
			first = m.Hostname
			break
		}
	}
	if w.Hosts[first] == nil {
		return []Result{unknown(first, errNoMachine)}, nil // there is no clock to compare with
	}
	facts, err := w.machines[first].get(ctx)
	if err != nil {
		return []Result{unknown(first, err)}, nil
	}
	return w.eachMachine(ctx, func(m observedMachine) Result { return clock(m.Hostname, first, m.machineFacts, facts) })
}

func clock(name, first string, f, firstFacts machineFacts) Result {
	// Both offsets are known as an interval; the minimal difference counts.
	apart, of, limit := max(f.Behind-firstFacts.Ahead, firstFacts.Behind-f.Ahead, 0), "the clock of "+first, clockFail
	if name == first { // it creates certificates, so it is compared with this host
		apart, of, limit = max(f.Behind, -f.Ahead, 0), "the clock of this host", hostClockFail
	}
	var problems, warnings []string
	text := fmt.Sprintf("its clock differs from %s by %s", of, apart.Round(100*time.Millisecond))
	switch {
	case apart > limit:
		problems = []string{text}
	case apart > clockWarn:
		warnings = []string{text}
	}
	return summary(name, "synchronize all machines with the same time server (systemd-timesyncd, chrony)", problems, warnings, "synchronized with %s", of)
}

const (
	// reserve is the space that must stay free on every file system.
	reserve = 1 << 30
	// minInodes is what the programs and images of a version might need.
	minInodes = 20_000
)

// disks sums what the operation writes to each file system of a machine.
func disks(ctx context.Context, w *world) ([]Result, error) {
	return w.eachMachine(ctx, func(m observedMachine) Result {
		needs, err := spaceNeeds(w.stepsOn(m), func() int64 { return w.etcdSize(ctx) }, w.contentOfStep)
		if err != nil {
			return unknown(m.Hostname, err)
		}
		return freeSpace(m.Hostname, m.Disks, needs)
	})
}

// freeSpace evaluates the file systems of one machine. needs is what will be
// written to each directory.
func freeSpace(name string, disks []inspect.Disk, needs map[string]int64) Result {
	if len(disks) == 0 {
		return unknownf(name, "file systems unknown")
	}
	type mount struct {
		inspect.Disk
		need int64
		dirs []string
	}
	var mounts []*mount
	for _, d := range disks {
		i := slices.IndexFunc(mounts, func(m *mount) bool { return m.Mount == d.Mount })
		if i < 0 {
			i, mounts = len(mounts), append(mounts, &mount{Disk: d})
		}
		mounts[i].need += needs[d.Dir]
		mounts[i].dirs = append(mounts[i].dirs, d.Dir)
	}
	var short, tight, fine []string
	for _, m := range mounts {
		text := fmt.Sprintf("%s has %s free, needs %s for %s", m.Mount, size(m.Free), size(m.need+reserve), strings.Join(m.dirs, ", "))
		switch {
		case m.Free < m.need+reserve:
			short = append(short, text)
		case m.Inodes > 0 && m.FreeInodes < minInodes:
			short = append(short, fmt.Sprintf("%s has %d inodes free, needs %d", m.Mount, m.FreeInodes, minInodes))
		case m.Free < 2*(m.need+reserve):
			tight = append(tight, text)
		default:
			fine = append(fine, fmt.Sprintf("%s has %s free", m.Mount, size(m.Free)))
		}
	}
	const fix = "free disk space; to remove programs of versions without use, run: paictl machine prune; another typical cause are images that no job uses"
	return summary(name, fix, short, tight, "%s", strings.Join(fine, "; "))
}

// spareMemory must be available in addition to what a hop needs.
const spareMemory = 256 << 20

func memories(ctx context.Context, w *world) ([]Result, error) {
	return w.eachMachine(ctx, func(m observedMachine) Result { return memory(m, w.startsControlPlane(m)) })
}

// memory: during a handover, two API servers and two etcd members run.
func memory(m observedMachine, starts bool) Result {
	if m.MemoryTotal == 0 || m.MemoryAvailable == 0 {
		return unknownf(m.Hostname, "memory unknown")
	}
	need, purpose := int64(spareMemory), "to keep running"
	if starts {
		need += max(m.ControlPlaneRSS, 512<<20)
		purpose = "while a second API server and a second etcd member run"
	}
	if m.MemoryAvailable < need {
		return failed(m.Hostname, "free memory on the machine, or add memory", "%s of %s memory available, needs %s %s",
			size(m.MemoryAvailable), size(m.MemoryTotal), size(need), purpose)
	}
	return okay(m.Hostname, "%s of %s memory available", size(m.MemoryAvailable), size(m.MemoryTotal))
}

// neededPorts returns the TCP ports that Kubernetes and PAI use on a machine. The
// UDP socket of vxlan belongs to the kernel and has no process, so UDP ports cannot
// be distinguished.
func neededPorts(c *config.Config) []layout.Port {
	fixed := slices.DeleteFunc(layout.TCPPorts(), func(p layout.Port) bool { return p.Role == "" })
	return append(fixed,
		layout.Port{Number: c.Kubernetes.APIServersPort, Component: "the API proxy"},
		layout.Port{Number: c.Services.NodeExporter.Port, Component: "node-exporter"})
}

func ports(ctx context.Context, w *world) ([]Result, error) {
	return w.eachMachine(ctx, func(m observedMachine) Result { return portsOf(m, neededPorts(w.Config)) })
}

// portsOf: PAI uses a port if one of its programs or a container of a pod listens
// on it.
func portsOf(m observedMachine, needed []layout.Port) Result {
	if !m.ListenersKnown {
		return unknownf(m.Hostname, "listening programs unknown")
	}
	var taken []string
	for _, l := range m.Listeners {
		i := slices.IndexFunc(needed, func(p layout.Port) bool { return p.Number == l.Port && (m.IsControlPlane() || !p.ControlPlane) })
		if i < 0 || l.Where == "pod" || strings.HasPrefix(l.Program, layout.ProgramsDir+"/") {
			continue
		}
		program := l.Program
		if l.Where == "unknown" {
			program = "an unknown process"
		}
		taken = append(taken, fmt.Sprintf("%s listens on %s:%d, which %s needs", program, l.Address, l.Port, needed[i].Component))
	}
	return summary(m.Hostname, "stop the process, or configure a different port for it", taken, nil, "%d ports are free or used by PAI", len(needed))
}
