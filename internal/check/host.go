package check

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/layout"
)

func hostChecks() []Check {
	return []Check{
		{"machine-system", "PAI knows the operating system", Boot | Upgrade, onMachines(system)},
		{"machine-cgroups", "the kernel can limit containers", Boot | Upgrade | alsoOnResume, onMachines(cgroups)},
		{"machine-kernel", "the kernel supports pods and their network", Boot | Upgrade | alsoOnResume, kernel},
		{"machine-swap", "swap is off", standaloneOnly, onMachines(swap)},
		{"machine-names", "name lookups are answered in time", Boot | Upgrade, names},
		{"machine-address", "the machine has its address in the layout", Boot | Upgrade, onMachines(address)},
		{"machine-resources", "no CPU or memory policy blocks a kubelet", Boot | Upgrade | alsoOnResume, onMachines(resourceManagers)},
	}
}

// cgroups: without these controllers, the limits of a container have no effect.
func cgroups(m observedMachine) Result {
	if m.CgroupVersion == 0 {
		return unknownf(m.Hostname, "cgroup version unknown")
	}
	missing := slices.DeleteFunc([]string{"cpu", "cpuset", "memory", "pids"}, func(c string) bool { return slices.Contains(m.Controllers, c) })
	switch {
	case len(missing) > 0:
		return failed(m.Hostname, "enable them on the kernel command line, for example with cgroup_enable=memory, and reboot the machine",
			"cgroup v%d lacks the controllers %s", m.CgroupVersion, strings.Join(missing, ", "))
	case m.CgroupVersion == 1:
		return warning(m.Hostname, "enable cgroup v2 (systemd.unified_cgroup_hierarchy=1) with the next reboot",
			"the machine uses cgroup v1, which Kubernetes no longer develops and will remove")
	default:
		return okay(m.Hostname, "cgroup v2 with %s", strings.Join(m.Controllers, ", "))
	}
}

// kernel tests features instead of loaded modules: a module can be built in.
func kernel(ctx context.Context, w *world) ([]Result, error) {
	several := len(w.Config.Layout.MachineList) > 1
	return w.eachMachine(ctx, func(m observedMachine) Result { return kernelOf(m, several) })
}

func kernelOf(m observedMachine, several bool) Result {
	if len(m.Kernel) == 0 {
		return unknownf(m.Hostname, "kernel features unknown")
	}
	var problems, warnings []string
	if !m.Kernel["nftables"] {
		problems = append(problems, "nftables does not work, but service addresses need it (kernel module nf_tables, package nftables)")
	}
	if !m.Kernel["overlay"] && !m.Overlay { // on an overlay, containerd copies files instead
		problems = append(problems, "the kernel has no overlay file system, but containers need it (module overlay)")
	}
	if m.state.Prepared && !m.Kernel["forwarding"] {
		problems = append(problems, "net.ipv4.ip_forward was reset to 0, so no packet leaves a pod; to set it, run: systemctl restart pai-prepare")
	}
	if m.state.Prepared && !m.Kernel["bridge-nf"] {
		warnings = append(warnings, "module br_netfilter is missing, so pods on the same machine cannot reach each other by a service address, and rules keep their jobs apart without looking at connections")
	}
	if several && !m.Kernel["vxlan"] {
		warnings = append(warnings, "module vxlan is missing, but machines in different networks need it")
	}
	return summary(m.Hostname, "install the kernel modules (linux-image, linux-modules-extra), load them with modprobe, and list them in /etc/modules-load.d",
		problems, warnings, "nftables, overlay, and forwarding work")
}

// swap only warns: the kubelet starts with swap, and gives pods none if it can.
func swap(m observedMachine) Result {
	var devices []string
	for _, d := range slices.Sorted(maps.Keys(m.Swap)) {
		devices = append(devices, fmt.Sprintf("%s (%s)", d, size(m.Swap[d])))
	}
	if len(devices) == 0 {
		return okay(m.Hostname, "no swap")
	}
	effect := "with cgroup v1, pods are swapped as well"
	if m.CgroupVersion == 2 {
		effect = "pods get none, but programs on the machine might become slow"
	}
	return warning(m.Hostname, "remove swap from /etc/fstab; to turn it off, run: swapoff -a", "swap is on: %s; %s", strings.Join(devices, ", "), effect)
}

// address: etcd listens on the address in the layout, and a kubelet with an address that
// its machine does not have never gets ready. A connection can reach such an address when
// a router translates it.
func address(m observedMachine) Result {
	if len(m.Addresses) == 0 {
		return unknownf(m.Hostname, "addresses unknown")
	}
	if slices.Contains(m.Addresses, m.HostIP) {
		return okay(m.Hostname, "%s is an address of the machine", m.HostIP)
	}
	others := slices.DeleteFunc(slices.Clone(m.Addresses), func(a string) bool { return strings.HasPrefix(a, "127.") })
	has := "and it has none besides its loopback address"
	if len(others) > 0 {
		has = "which has " + strings.Join(others, ", ")
	}
	return failed(m.Hostname, "set its hostip in layout.yaml to an address that it has and that the other machines reach",
		"%s is not an address of the machine, %s", m.HostIP, has)
}

// slowLookup is longer than any working resolver takes.
const slowLookup = 2500 * time.Millisecond

// names: a lookup without an answer delays every pod by ten seconds, and every
// program that resolves a name.
func names(ctx context.Context, w *world) ([]Result, error) {
	addresses := map[string]string{layout.APIName: "127.0.0.1"}
	for _, m := range w.Config.Layout.MachineList {
		addresses[m.Hostname] = m.HostIP
	}
	return w.eachMachine(ctx, func(m observedMachine) Result { return namesOf(m, addresses) })
}

// namesOf: "no such name" is an answer as well. The name of the machine itself can
// be its loopback address (as the Debian installer sets it) or another address.
func namesOf(m observedMachine, addresses map[string]string) Result {
	if len(m.Names) == 0 {
		return unknownf(m.Hostname, "lookups unknown")
	}
	var problems, warnings []string
	for _, l := range m.Names {
		want, got := addresses[l.Name], l.Address
		if got == "" {
			got = "unknown"
		}
		switch {
		case l.Took >= slowLookup:
			problems = append(problems, fmt.Sprintf("the lookup of %s had no answer after %s", l.Name, l.Took.Round(time.Second)))
		case !m.state.Prepared || want == "" || got == want:
		case l.Name == layout.APIName:
			problems = append(problems, fmt.Sprintf("%s resolves to %s, want %s", l.Name, got, want))
		case !strings.HasPrefix(got, "127."):
			warnings = append(warnings, fmt.Sprintf("the name of the machine, %s, resolves to %s, want %s", l.Name, got, want))
		}
	}
	fix := "to restore the PAI lines in /etc/hosts, run: systemctl restart pai-prepare"
	if len(problems) > 0 {
		fix = "configure a resolver in /etc/resolv.conf that answers, or none; " + fix
	}
	return summary(m.Hostname, fix, problems, warnings, "lookups are answered")
}

// resourceManagers: a kubelet does not start if its CPU or memory policy differs
// from the one in its state file. A kubelet that pins resources might fail pods
// when it restarts.
func resourceManagers(m observedMachine) Result {
	var kubelet struct {
		CPU    string `json:"cpuManagerPolicy"`
		Memory string `json:"memoryManagerPolicy"`
	}
	if len(m.KubeletConfig) == 0 && m.hasKubelet() {
		return unknownf(m.Hostname, "kubelet configuration not found")
	}
	if err := yaml.Unmarshal(m.KubeletConfig, &kubelet); err != nil {
		return unknownf(m.Hostname, "read the kubelet configuration: %w", err)
	}
	var problems, pinned []string
	for _, manager := range []struct {
		name, policy, none, file string
		state                    []byte
	}{
		{"CPU", kubelet.CPU, "none", layout.CPUManagerState, m.CPUState},
		{"memory", kubelet.Memory, "None", layout.MemoryManagerState, m.MemoryState},
	} {
		policy := cmp.Or(manager.policy, manager.none)
		var state struct {
			Policy string `json:"policyName"`
		}
		if len(manager.state) > 0 {
			if err := json.Unmarshal(manager.state, &state); err != nil {
				problems = append(problems, fmt.Sprintf("%s is damaged: %v", manager.file, err))
				continue
			}
		}
		switch {
		case state.Policy != "" && state.Policy != policy:
			problems = append(problems, fmt.Sprintf("the %s policy is %q, but %s contains %q, so the kubelet would not start", manager.name, policy, manager.file, state.Policy))
		case policy != manager.none:
			pinned = append(pinned, fmt.Sprintf("the %s policy is %q, so the kubelet is not replaced while jobs run", manager.name, policy))
		}
	}
	if len(problems) == 0 && len(pinned) > 0 {
		return summary(m.Hostname, "no action needed: the guard waits until no job runs on the machine", nil, pinned, "")
	}
	fix := "when no job runs there, stop pai-kubelet, delete the file, and start pai-kubelet"
	if !m.hasKubelet() { // another kubelet left the file
		fix = "delete the file; on the machine, run: rm -f " + layout.CPUManagerState + " " + layout.MemoryManagerState
	}
	return summary(m.Hostname, fix, problems, nil, "no policy pins CPUs or memory")
}
