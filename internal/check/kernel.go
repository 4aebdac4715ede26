package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

// cgroups: without these controllers a container's limits mean nothing.
func cgroups(ctx context.Context, w *world) []Result {
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		return []Result{cgroupsOf(m.Hostname, f)}
	})
}

func cgroupsOf(name string, f machineFacts) Result {
	if f.CgroupVersion == 0 {
		return unknown(name, fmt.Errorf("it did not say which cgroups it has"))
	}
	var missing []string
	for _, c := range []string{"cpu", "cpuset", "memory", "pids"} {
		if !slices.Contains(f.Controllers, c) {
			missing = append(missing, c)
		}
	}
	switch {
	case len(missing) > 0:
		return failed(name, "turn them on in the kernel's command line (cgroup_enable=memory and the like) and restart the machine",
			"cgroup v%d lacks the controllers %s", f.CgroupVersion, strings.Join(missing, ", "))
	case f.CgroupVersion == 1:
		return warning(name, "start the machine with cgroup v2 (systemd.unified_cgroup_hierarchy=1) at its next maintenance",
			"it has cgroup v1, which Kubernetes no longer develops and will stop to support")
	default:
		return okay(name, "cgroup v2 with %s", strings.Join(f.Controllers, ", "))
	}
}

// kernel looks at what the kernel does, not at which modules are loaded: one
// that is built in is in no list.
func kernel(ctx context.Context, w *world) []Result {
	several := len(w.Config.Layout.MachineList) > 1
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		return []Result{kernelOf(m.Hostname, f, several, w.observed(m.Hostname).Prepared)}
	})
}

func kernelOf(name string, f machineFacts, several, prepared bool) Result {
	if len(f.Kernel) == 0 {
		return unknown(name, fmt.Errorf("it did not say what its kernel has"))
	}
	onOverlay := strings.HasPrefix(f.Filesystem, "overlay") // then the runtime copies instead
	var missing, weak []string
	if !f.Kernel["nftables"] {
		missing = append(missing, "nftables does not work (kernel module nf_tables, package nftables), which services' addresses need")
	}
	if !f.Kernel["overlay"] && !onOverlay {
		missing = append(missing, "the kernel has no overlay file system (module overlay), which containers are made from")
	}
	if prepared && !f.Kernel["forwarding"] {
		missing = append(missing, "net.ipv4.ip_forward was set back to 0, so no packet leaves a pod (systemctl restart pai-prepare sets it)")
	}
	if !f.Kernel["bridge-nf"] && prepared {
		weak = append(weak, "module br_netfilter is not there, so pods on one machine do not reach each other by a service's address")
	}
	if !f.Kernel["vxlan"] && several {
		weak = append(weak, "module vxlan is not there, which machines in different networks need")
	}
	const fix = "install the kernel's modules (linux-image, linux-modules-extra), load them with modprobe, and name them in /etc/modules-load.d"
	switch {
	case len(missing) > 0:
		return failed(name, fix, "%s", strings.Join(missing, "; "))
	case len(weak) > 0:
		return warning(name, fix, "%s", strings.Join(weak, "; "))
	default:
		return okay(name, "nftables, overlay and forwarding work")
	}
}

func swap(ctx context.Context, w *world) []Result {
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		return []Result{swapOf(m.Hostname, f)}
	})
}

// swapOf is never more than a warning: kubelet starts all the same, and gives
// pods no swap where it can.
func swapOf(name string, f machineFacts) Result {
	var devices []string
	for _, d := range slices.Sorted(maps.Keys(f.Swap)) {
		devices = append(devices, fmt.Sprintf("%s (%s)", d, size(f.Swap[d])))
	}
	switch {
	case len(devices) == 0:
		return okay(name, "no swap")
	case f.CgroupVersion == 2:
		return warning(name, "swapoff -a, and take it out of /etc/fstab", "swap is on: %s; pods get none, but the machine's own programs may become slow", strings.Join(devices, ", "))
	default:
		return warning(name, "swapoff -a, and take it out of /etc/fstab", "swap is on: %s; with cgroup v1 pods are swapped as well", strings.Join(devices, ", "))
	}
}

// slowLookup is more than any resolver that works takes.
const slowLookup = 2500 * time.Millisecond

// names: a look-up that nobody answers costs every pod ten seconds, and every
// program that asks for a name as much.
func names(ctx context.Context, w *world) []Result {
	addresses := map[string]string{apiName: "127.0.0.1"}
	for _, m := range w.Config.Layout.MachineList {
		addresses[m.Hostname] = m.HostIP
	}
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		return []Result{namesOf(m.Hostname, f, addresses, w.observed(m.Hostname).Prepared)}
	})
}

// apiName is the API's on every machine, where it stands for the loopback.
const apiName = layout.APIName

// namesOf: that a name does not exist is an answer, too. A machine's own name
// may well stand for its loopback (Debian's installer writes it so), or for
// another of its addresses.
func namesOf(name string, f machineFacts, addresses map[string]string, prepared bool) Result {
	if len(f.Names) == 0 {
		return unknown(name, fmt.Errorf("it looked nothing up"))
	}
	var wrong, odd []string
	for _, l := range f.Names {
		want := addresses[l.Name]
		switch {
		case l.Took >= slowLookup:
			wrong = append(wrong, fmt.Sprintf("nobody answers when it looks %s up (after %s)", l.Name, l.Took.Round(time.Second)))
		case !prepared || want == "" || l.Address == want:
		case l.Name == apiName:
			wrong = append(wrong, fmt.Sprintf("%s is %s there, not %s", l.Name, orNothing(l.Address), want))
		case !strings.HasPrefix(l.Address, "127."):
			odd = append(odd, fmt.Sprintf("its own name, %s, is %s there, not %s", l.Name, orNothing(l.Address), want))
		}
	}
	const lines = "PAI's own lines in /etc/hosts come back with: systemctl restart pai-prepare"
	switch {
	case len(wrong) > 0:
		return failed(name, "give it in /etc/resolv.conf a resolver that answers, or none at all; "+lines, "%s", strings.Join(wrong, "; "))
	case len(odd) > 0:
		return warning(name, lines, "%s", strings.Join(odd, "; "))
	}
	return okay(name, "look-ups are answered")
}

func orNothing(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
