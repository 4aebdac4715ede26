package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

// reachable: a machine that does not answer is reported here, and by no other
// check that asks machines.
func reachable(_ context.Context, w *world) []Result {
	var all []Result
	for _, m := range w.Config.Layout.MachineList {
		fix := fmt.Sprintf("see that it runs and that ssh %s@%s works from here", m.Username, m.HostIP)
		switch o := w.observed(m.Hostname); {
		case w.Hosts[m.Hostname] == nil:
			all = append(all, failed(m.Hostname, fix, "%s does not answer, so nothing else is known of it", m.HostIP))
		case o.Unreachable != "":
			all = append(all, failed(m.Hostname, fix, "%s", firstLine(o.Unreachable)))
		default:
			all = append(all, okay(m.Hostname, "%s answers", m.HostIP))
		}
	}
	return all
}

// Clocks may differ by this much. Kubernetes' leases and logs suffer first,
// then tokens and certificates that are not valid yet.
const (
	clockWarn = time.Second
	clockFail = 5 * time.Second
)

// clocks compares each machine's clock with the control plane's.
func clocks(ctx context.Context, w *world) []Result {
	master := w.Config.ControlPlane().Hostname
	if w.Hosts[master] == nil {
		return []Result{unknown(master, errNoMachine)} // and there is nothing to compare with
	}
	first, err := w.machines[master].get(ctx)
	if err != nil {
		return []Result{unknown(master, err)}
	}
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		return []Result{clock(m.Hostname, master, f, first)}
	})
}

func clock(name, master string, f, first machineFacts) Result {
	// Both offsets are known between two bounds; what counts is by how much
	// they differ at least.
	apart := max(f.Behind-first.Ahead, first.Behind-f.Ahead, 0)
	than, fail := "the clock of "+master, clockFail
	if name == master {
		// It is compared with ours, which matters less: certificates are made there.
		apart, than, fail = max(f.Behind, -f.Ahead, 0), "the clock of this host", time.Minute
	}
	const fix = "let it take its time from a time server (systemd-timesyncd, chrony); all machines from the same one"
	switch {
	case apart > fail:
		return failed(name, fix, "its clock is %s off %s", round(apart), than)
	case apart > clockWarn:
		return warning(name, fix, "its clock is %s off %s", round(apart), than)
	default:
		return okay(name, "in step with %s", than)
	}
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// reserve is what has to stay free on every file system that is written to.
const reserve = 1 << 30

// lowInodes is as few as a version's programs and images may need.
const lowInodes = 20_000

// disks adds up what the operation writes on each file system of a machine.
func disks(ctx context.Context, w *world) []Result {
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		needs, err := w.needs(ctx, m)
		if err != nil {
			return []Result{unknown(m.Hostname, err)}
		}
		return []Result{room(m.Hostname, f.Disks, needs)}
	})
}

// room judges the file systems of one machine. needs is what will be written
// below each folder.
func room(name string, disks []disk, needs map[string]int64) Result {
	if len(disks) == 0 {
		return unknown(name, fmt.Errorf("it did not say what file systems it has"))
	}
	type mount struct {
		disk
		need    int64
		folders []string
	}
	mounts := map[string]*mount{}
	var order []string
	for _, d := range disks {
		m := mounts[d.Mount]
		if m == nil {
			m = &mount{disk: d}
			mounts[d.Mount], order = m, append(order, d.Mount)
		}
		m.need += needs[d.Folder]
		m.folders = append(m.folders, d.Folder)
	}
	var short, tight, fine []string
	for _, key := range order {
		m := mounts[key]
		text := fmt.Sprintf("%s has %s free, needs %s for %s", m.Mount, size(m.Free), size(m.need+reserve), strings.Join(m.folders, ", "))
		switch {
		case m.Free < m.need+reserve:
			short = append(short, text)
		case m.Inodes > 0 && m.FreeInodes < lowInodes:
			short = append(short, fmt.Sprintf("%s has %d inodes free, needs %d", m.Mount, m.FreeInodes, lowInodes))
		case m.Free < 2*(m.need+reserve):
			tight = append(tight, text)
		default:
			fine = append(fine, fmt.Sprintf("%s has %s free", m.Mount, size(m.Free)))
		}
	}
	const fix = "make room there; old folders of " + layout.ProgramsDir + " that no role links to, and images of jobs that nobody runs, are what grows"
	switch {
	case len(short) > 0:
		return failed(name, fix, "%s", strings.Join(short, "; "))
	case len(tight) > 0:
		return warning(name, fix, "%s", strings.Join(tight, "; "))
	default:
		return okay(name, "%s", strings.Join(fine, "; "))
	}
}

// spareMemory is what has to be available besides what a hop needs.
const spareMemory = 256 << 20

// memory: while a hop hands over, two API servers and two etcds run.
func memory(ctx context.Context, w *world) []Result {
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		return []Result{memoryOf(m, f)}
	})
}

func memoryOf(m config.Machine, f machineFacts) Result {
	if f.MemoryTotal == 0 || f.MemoryAvailable == 0 {
		return unknown(m.Hostname, fmt.Errorf("it did not say how much memory it has"))
	}
	need, what := int64(spareMemory), "to go on working"
	if m.IsControlPlane() {
		need += max(f.ControlPlaneRSS, 512<<20)
		what = "while a second API server and etcd run beside the first"
	}
	if f.MemoryAvailable < need {
		return failed(m.Hostname, "free memory on it, or give it more", "%s of %s are available, and %s are needed %s",
			size(f.MemoryAvailable), size(f.MemoryTotal), size(need), what)
	}
	return okay(m.Hostname, "%s of %s are available", size(f.MemoryAvailable), size(f.MemoryTotal))
}

// neededPorts are the TCP ports that Kubernetes and PAI listen on, on a
// machine's address or its loopback. A socket of the kernel, as that of vxlan,
// shows no process, so UDP ports cannot be told apart.
func neededPorts(c *config.Config) []layout.Port {
	fixed := slices.DeleteFunc(layout.TCPPorts(), func(p layout.Port) bool { return p.Role == "" })
	return append(fixed,
		layout.Port{Number: c.Kubernetes.APIServersPort, Component: "the API's address"},
		layout.Port{Number: c.Services.NodeExporter.Port, Component: "node-exporter"})
}

func ports(ctx context.Context, w *world) []Result {
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		return []Result{portsOf(m, f, neededPorts(w.Config))}
	})
}

// portsOf: a port is ours when a program of PAI's or a container of a pod
// listens on it.
func portsOf(m config.Machine, f machineFacts, needed []layout.Port) Result {
	if !f.ListenersKnown {
		return unknown(m.Hostname, fmt.Errorf("it has no program ss; install iproute2"))
	}
	var taken []string
	for _, l := range f.Listeners {
		i := slices.IndexFunc(needed, func(p layout.Port) bool { return p.Number == l.Port && (m.IsControlPlane() || !p.ControlPlane) })
		if i < 0 || l.Where == "pod" || strings.HasPrefix(l.Program, layout.ProgramsDir+"/") {
			continue
		}
		who := l.Program
		if l.Where == "nobody" {
			who = "a process that cannot be seen"
		}
		taken = append(taken, fmt.Sprintf("%s listens on %s:%d, which %s needs", who, l.Address, l.Port, needed[i].Component))
	}
	if len(taken) > 0 {
		return failed(m.Hostname, "stop it, or give it another port", "%s", strings.Join(taken, "; "))
	}
	return okay(m.Hostname, "the %d ports are free or PAI's", len(needed))
}

// size is a number of bytes in words.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
