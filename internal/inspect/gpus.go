package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// GPUs is what a machine has of NVIDIA GPUs, and of their driver.
type GPUs struct {
	// Bus are the addresses of the GPUs on the PCI bus, such as 0000:41:00.0.
	Bus []string `json:"bus,omitempty"`
	// Drivers has the kernel module that serves a GPU, by address; without it, none does.
	Drivers map[string]string `json:"drivers,omitempty"`
	// Others is how many GPUs of other vendors the bus has.
	Others int `json:"others,omitempty"`
	// Module is the version of the loaded kernel module; empty: it is not loaded.
	Module string `json:"module,omitempty"`
	// Libraries are the versions of the installed libraries of the driver.
	Libraries []string `json:"libraries,omitempty"`
	// Tool is what nvidia-smi does; nil if it was not asked, because no module is loaded.
	Tool *GPUTool `json:"tool,omitempty"`
	// Files are the device files that the loaded module needs, and those that are missing.
	Files   []string `json:"files,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Lost are the addresses of GPUs that the kernel log of this boot calls fallen off the
	// bus (Xid 79). They are unknown unless LogRead.
	LogRead bool     `json:"logRead,omitempty"`
	Lost    []string `json:"lost,omitempty"`
}

// GPUTool is the answer of nvidia-smi.
type GPUTool struct {
	// Listed are the addresses of the GPUs that it lists.
	Listed []string `json:"listed,omitempty"`
	// Said are the lines that name no GPU; Failed is why it failed.
	Said   string `json:"said,omitempty"`
	Failed string `json:"failed,omitempty"`
	// Stuck is set if it did not end in time, or if an earlier one cannot be ended.
	Stuck bool `json:"stuck,omitempty"`
}

const (
	// gpuToolTimeout is longer than nvidia-smi takes without nvidia-persistenced, when it
	// initializes each GPU; gpuLogTimeout limits the search of the kernel log.
	gpuToolTimeout = 12 * time.Second
	gpuLogTimeout  = 5 * time.Second
	// maxGPUText is how much of what nvidia-smi says is kept.
	maxGPUText = 500
)

// gpuState reports the GPUs.
func (i *inspection) gpuState(ctx context.Context) error {
	g := &GPUs{Drivers: map[string]string{}}
	module, err := i.optional("/sys/module/nvidia/version")
	if err != nil {
		return err
	}
	g.Module = module
	if err := i.gpuBus(g); err != nil {
		return err
	}
	var wg sync.WaitGroup
	if g.Module != "" {
		wg.Go(func() { g.Tool = i.gpuTool(ctx) })
	}
	wg.Go(func() { g.Lost, g.LogRead = i.lostGPUs(ctx) })
	g.Libraries, err = i.gpuLibraries()
	if err == nil && g.Module != "" {
		err = i.gpuFiles(g)
	}
	wg.Wait()
	if err != nil {
		return err
	}
	i.report.GPUs = g
	return nil
}

// optional reads a file of one line; empty if it does not exist.
func (i *inspection) optional(path string) (string, error) {
	text, err := i.read(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return strings.TrimSpace(string(text)), err
}

// gpuBus reads the GPUs on the PCI bus.
func (i *inspection) gpuBus(g *GPUs) error {
	const bus = "/sys/bus/pci/devices"
	names, err := i.names(bus)
	for _, name := range names {
		vendor, err := i.optional(bus + "/" + name + "/vendor")
		if err != nil {
			return err
		}
		class, err := i.optional(bus + "/" + name + "/class")
		if err != nil {
			return err
		}
		switch {
		case vendor == "0x10de" && nvidiaClass.MatchString(class):
			g.Bus = append(g.Bus, name)
			driver, err := i.readlink(i.at(bus + "/" + name + "/driver"))
			if err == nil {
				g.Drivers[name] = path.Base(driver)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		case vendor == "0x1002" && amdClass.MatchString(class):
			g.Others++
		}
	}
	return err
}

// libraryFile is the library that the driver brings for programs such as nvidia-smi.
var libraryFile = regexp.MustCompile(`^libnvidia-ml\.so\.([0-9]+\.[0-9.]+)$`)

// gpuLibraries are the versions of the library in the directories that distributions and
// NVIDIA's installer use.
func (i *inspection) gpuLibraries() ([]string, error) {
	var versions []string
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu/nvidia/current",
		"/usr/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu/nvidia/current", "/usr/lib64"} {
		names, err := i.names(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if v := libraryFile.FindStringSubmatch(name); v != nil && !slices.Contains(versions, v[1]) {
				versions = append(versions, v[1])
			}
		}
	}
	return versions, nil
}

var gpuMinor = regexp.MustCompile(`(?m)^Device Minor:\s*([0-9]+)\s*$`)

// gpuFiles looks for the device files that programs open.
func (i *inspection) gpuFiles(g *GPUs) error {
	const served = "/proc/driver/nvidia/gpus"
	g.Files = []string{"/dev/nvidiactl", "/dev/nvidia-uvm"}
	addresses, err := i.names(served)
	if err != nil {
		return err
	}
	for _, address := range addresses {
		text, err := i.optional(served + "/" + address + "/information")
		if err != nil {
			return err
		}
		if minor := gpuMinor.FindStringSubmatch(text); minor != nil {
			g.Files = append(g.Files, "/dev/nvidia"+minor[1])
		}
	}
	for _, file := range g.Files {
		found, err := i.exists(file)
		if err != nil {
			return err
		}
		if !found {
			g.Missing = append(g.Missing, file)
		}
	}
	return nil
}

// toolLine is a line of nvidia-smi with the UUID of a GPU and its address on the bus.
var toolLine = regexp.MustCompile(`^GPU-[0-9a-fA-F-]+, *([0-9a-fA-F:.]+)$`)

// gpuTool asks nvidia-smi. A broken driver can keep it in the kernel, where no signal ends
// it: then the answer does not wait for it, and no further one is started.
func (i *inspection) gpuTool(ctx context.Context) *GPUTool {
	if pid := i.stuckTool(); pid != "" {
		return &GPUTool{Stuck: true, Failed: "process " + pid + " of an earlier nvidia-smi cannot be ended"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, gpuToolTimeout, fmt.Errorf("no answer within %s", gpuToolTimeout))
	defer cancel()
	type answer struct {
		out string
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		out, err := i.Run(ctx, "nvidia-smi", "--query-gpu=uuid,pci.bus_id", "--format=csv,noheader")
		answers <- answer{out, err}
	}()
	select {
	case a := <-answers:
		tool := readTool(a.out)
		if a.err != nil {
			tool.Failed, tool.Stuck = shorten(a.err.Error()), ctx.Err() != nil
		}
		return tool
	case <-ctx.Done():
		return &GPUTool{Stuck: true, Failed: context.Cause(ctx).Error()}
	}
}

func readTool(out string) *GPUTool {
	tool := &GPUTool{}
	var said []string
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if gpu := toolLine.FindStringSubmatch(line); gpu != nil {
			tool.Listed = append(tool.Listed, busAddress(gpu[1]))
		} else if line != "" {
			said = append(said, line)
		}
	}
	tool.Said = shorten(strings.Join(said, " "))
	return tool
}

func shorten(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxGPUText)], "")
}

// busAddress is an address as the kernel writes it: nvidia-smi writes the domain with
// eight digits, and messages of the driver leave out the function.
func busAddress(text string) string {
	text = strings.ToLower(text)
	if domain, rest, found := strings.Cut(text, ":"); found && len(domain) > 4 {
		text = domain[len(domain)-4:] + ":" + rest
	}
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// stuckTool is the process of an nvidia-smi that waits in the kernel; empty if there is
// none. One that has just started can be there as well, for a moment.
func (i *inspection) stuckTool() string {
	processes, err := i.names("/proc")
	if err != nil {
		return ""
	}
	for _, pid := range processes {
		if pid[0] < '0' || pid[0] > '9' {
			continue
		}
		stat, err := i.read("/proc/" + pid + "/stat") // pid (name) state …
		if err != nil {
			continue // it ended
		}
		if _, rest, found := strings.Cut(string(stat), " (nvidia-smi) "); found && strings.HasPrefix(rest, "D") {
			return pid
		}
	}
	return ""
}

// offTheBus is the message of the driver for a GPU that no longer answers.
var offTheBus = regexp.MustCompile(`NVRM: Xid \(PCI:([0-9a-fA-F:.]+)\): 79,`)

// lostGPUs searches the kernel log of this boot: the journal, or the buffer of the kernel.
func (i *inspection) lostGPUs(ctx context.Context) (lost []string, read bool) {
	ctx, cancel := context.WithTimeout(ctx, gpuLogTimeout)
	defer cancel()
	out, err := i.Run(ctx, "journalctl", "--dmesg", "--boot", "--quiet", "--no-pager", "--output=cat", "--lines=200", "--grep=NVRM: Xid .*: 79,")
	if err != nil { // also if nothing was found
		buffer, bufferErr := i.Run(ctx, "dmesg")
		if bufferErr != nil {
			i.problem(errors.Join(err, bufferErr), string(GPUsOf), "log")
			return nil, false
		}
		out += buffer
	}
	for _, found := range offTheBus.FindAllStringSubmatch(out, -1) {
		if address := busAddress(found[1]); !slices.Contains(lost, address) {
			lost = append(lost, address)
		}
	}
	return lost, true
}
