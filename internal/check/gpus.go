package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/machine"
)

// gpuChecks warn before an operation and block none: jobs on a machine run as they did,
// whatever is wrong with its driver, and a machine without GPUs still runs other jobs.
func gpuChecks() []Check {
	return []Check{{"machine-gpus", "the driver serves the GPUs of the machine-sku", Boot | Upgrade | onlyWarns, gpus}}
}

// gpuMachine is a machine that has GPUs in the layout.
type gpuMachine struct {
	name, sku string
	count     int // GPUs of the machine-sku
	host      machine.Host
}

// gpus asks the machines that have GPUs in the layout. It does so on its own: a driver
// that hangs must not keep other checks from their facts.
func gpus(ctx context.Context, w *world) ([]Result, error) {
	var asked []gpuMachine
	configured := false
	for _, m := range w.Config.Layout.MachineList {
		sku := w.Config.Layout.MachineSKU[m.MachineType]
		configured = configured || sku.GPU != nil && !w.leftOut[m.Hostname]
		if host := w.Hosts[m.Hostname]; sku.GPU != nil && host != nil {
			asked = append(asked, gpuMachine{m.Hostname, m.MachineType, sku.GPU.Count, host})
		}
	}
	if configured && len(asked) == 0 {
		return nil, errNoMachine
	}
	return parallel(asked, func(m gpuMachine) Result {
		report, err := helper.Parts(ctx, m.host, inspect.GPUsOf)
		if err != nil {
			return unknown(m.name, err)
		}
		return gpusOf(m, *report.GPUs)
	}), nil
}

// driverFix: PAI installs no driver.
const driverFix = "install the driver of NVIDIA for this kernel, and reboot the machine when no job runs on it; PAI installs none: see docs/gpu.md"

// gpusOf names the first cause that explains what is wrong, and then each GPU that it does
// not explain.
func gpusOf(m gpuMachine, g inspect.GPUs) Result {
	said := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	switch {
	case len(g.Bus) == 0 && g.Others > 0:
		return okay(m.name, "%d GPUs of another vendor, whose driver PAI does not check", g.Others)
	case len(g.Bus) == 0 && g.Module == "":
		return failed(m.name, "check that the machine has the machine-sku that layout.yaml names, and that its firmware shows the GPUs",
			"no GPU on the PCI bus; the machine-sku %s has %d", m.sku, m.count)
	case g.Module == "" && len(g.Libraries) == 0:
		return failed(m.name, driverFix, "%d GPUs and no driver: %s", len(g.Bus), served(g))
	case g.Module == "":
		return failed(m.name, "on the machine, modprobe nvidia shows the cause: often the module was not built for a newer kernel, or Secure Boot refuses it",
			"the kernel module of the driver is not loaded (libraries %s): %s", strings.Join(g.Libraries, ", "), served(g))
	case mismatch(g):
		return failed(m.name, "reboot the machine when no job runs on it, so that the kernel loads the installed module",
			"the loaded kernel module has version %s, the libraries have %s: new containers with GPUs fail", g.Module, strings.Join(g.Libraries, ", "))
	case g.Tool == nil:
		return unknownf(m.name, "nvidia-smi was not asked")
	case g.Tool.Stuck:
		return failed(m.name, "look for NVRM and Xid in the kernel log; a reboot when no job runs on the machine is often the only way",
			"nvidia-smi hangs: %s", g.Tool.Failed)
	case g.Tool.Failed != "" && len(g.Tool.Listed) == 0:
		return failed(m.name, driverFix, "nvidia-smi fails: %s", strings.TrimSpace(g.Tool.Failed+" "+g.Tool.Said))
	case len(g.Tool.Listed) == 0:
		return failed(m.name, driverFix, "nvidia-smi ends without an error and lists no GPU; the bus has %d: %s", len(g.Bus), quoted(g.Tool.Said))
	}
	var problems, warnings []string
	fix := "look for NVRM and Xid in the kernel log; reseat or replace a GPU that does not come back with a reboot"
	for _, address := range g.Lost {
		if slices.Contains(g.Tool.Listed, address) {
			warnings = append(warnings, said("GPU %s fell off the bus since the boot (Xid 79), and is back", address))
		} else {
			problems = append(problems, said("GPU %s fell off the bus (Xid 79)", address))
		}
	}
	for _, address := range g.Bus {
		if !slices.Contains(g.Tool.Listed, address) && !slices.Contains(g.Lost, address) {
			problems = append(problems, said("GPU %s is on the bus, and nvidia-smi does not list it", address))
		}
	}
	if n := len(g.Tool.Listed); n < m.count {
		problems = append(problems, said("nvidia-smi lists %d GPUs; the machine-sku %s has %d", n, m.sku, m.count))
	} else if n > m.count {
		warnings = append(warnings, said("nvidia-smi lists %d GPUs; the machine-sku %s has %d: correct layout.yaml", n, m.sku, m.count))
	}
	if len(g.Missing) > 0 {
		problems = append(problems, said("device files are missing: %s", strings.Join(g.Missing, ", ")))
		fix = "to create the device files, run on the machine: nvidia-modprobe -u -c 0; enable nvidia-persistenced; " + fix
	}
	if g.Tool.Said != "" || g.Tool.Failed != "" {
		warnings = append(warnings, "nvidia-smi also says "+quoted(strings.TrimSpace(g.Tool.Said+" "+g.Tool.Failed)))
	}
	if !g.LogRead {
		warnings = append(warnings, "the kernel log could not be read, so lost GPUs might be unknown")
	}
	return summary(m.name, fix, problems, warnings, "%d GPUs, driver %s", len(g.Tool.Listed), g.Module)
}

// mismatch reports whether programs find no library of the loaded module. Without a known
// library, only nvidia-smi can report it.
func mismatch(g inspect.GPUs) bool {
	if g.Tool != nil && strings.Contains(g.Tool.Said+g.Tool.Failed, "version mismatch") {
		return true
	}
	return len(g.Libraries) > 0 && !slices.Contains(g.Libraries, g.Module) && (g.Tool == nil || len(g.Tool.Listed) == 0)
}

// served names another kernel module that serves the GPUs, such as nouveau.
func served(g inspect.GPUs) string {
	for _, address := range g.Bus {
		if driver := g.Drivers[address]; driver != "" {
			return "the module " + driver + " serves GPU " + address
		}
	}
	return "no module serves them"
}

func quoted(said string) string {
	if said == "" {
		return "it says nothing"
	}
	return fmt.Sprintf("%q", said)
}
