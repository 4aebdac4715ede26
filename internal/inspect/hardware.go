package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// Hardware describes a machine.
type Hardware struct {
	Hostname  string   `json:"hostname"`
	Cores     int      `json:"cores"`
	MemoryMiB int      `json:"memoryMiB"`
	OS        string   `json:"os,omitempty"`   // "Debian GNU/Linux 12 (bookworm)"
	GPUs      []string `json:"gpus,omitempty"` // the name from the driver, else the vendor and device on the PCI bus
	Disks     []Drive  `json:"disks,omitempty"`
}

// Drive is a disk of a machine.
type Drive struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// hardware reports the hardware.
func (i *inspection) hardware(ctx context.Context) error {
	memory, err := i.memory()
	if err != nil {
		return err
	}
	name, err := i.read("/proc/sys/kernel/hostname")
	if err != nil {
		return err
	}
	hw := Hardware{Cores: runtime.NumCPU(), MemoryMiB: int(memory["MemTotal"] >> 20), OS: i.system()}
	hw.Hostname, _, _ = strings.Cut(strings.TrimSpace(string(name)), ".")
	hw.GPUs = i.gpus(ctx)
	if hw.Disks, err = i.drives(); err != nil {
		return err
	}
	i.report.Hardware = &hw
	return nil
}

// memory is /proc/meminfo in bytes.
func (i *inspection) memory() (map[string]int64, error) {
	text, err := i.read("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	values := kilobytes(text)
	if values["MemTotal"] == 0 {
		return nil, fmt.Errorf("/proc/meminfo has no total memory")
	}
	return values, nil
}

// kilobytes reads lines such as "MemTotal:  16 kB".
func kilobytes(text []byte) map[string]int64 {
	values := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64); err == nil {
			values[key] = n << 10
		}
	}
	return values
}

// GPUs without a driver are found on the PCI bus: display and processing
// controllers of NVIDIA and AMD.
var (
	nvidiaClass = regexp.MustCompile(`^0x03`)
	amdClass    = regexp.MustCompile(`^0x(0380|12)`)
)

// gpuLine is a line of nvidia-smi: the UUID of a GPU and its name.
var gpuLine = regexp.MustCompile(`^(?:GPU|MIG)-[0-9a-fA-F-]+, *(\S.*)$`)

func (i *inspection) gpus(ctx context.Context) []string {
	var gpus []string
	if out, err := i.Run(ctx, "nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"); err == nil {
		var odd []string
		for line := range strings.Lines(out) {
			line = strings.TrimSpace(line)
			if gpu := gpuLine.FindStringSubmatch(line); gpu != nil {
				gpus = append(gpus, gpu[1])
			} else if line != "" {
				odd = append(odd, line)
			}
		}
		if len(odd) == 0 && len(gpus) > 0 {
			return gpus
		}
		if len(odd) > 0 { // some drivers print a sentence and end with code 0
			i.problem(fmt.Errorf("nvidia-smi printed %q instead of a GPU, so the PCI bus was read", strings.Join(odd, " ")), string(HardwareOf), "gpus")
		}
		gpus = nil
	}
	const bus = "/sys/bus/pci/devices"
	names, err := i.names(bus)
	i.problem(err, string(HardwareOf), "gpus")
	for _, name := range names {
		of := func(property string) string {
			text, err := i.read(bus + "/" + name + "/" + property)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				i.problem(err, string(HardwareOf), "gpus", name)
			}
			return strings.TrimSpace(string(text))
		}
		device := strings.TrimPrefix(of("device"), "0x")
		switch vendor, class := of("vendor"), of("class"); {
		case vendor == "0x10de" && nvidiaClass.MatchString(class):
			gpus = append(gpus, "nvidia-"+device)
		case vendor == "0x1002" && amdClass.MatchString(class):
			gpus = append(gpus, "amd-"+device)
		}
	}
	return gpus
}

// virtual are block devices that are no disks.
var virtual = regexp.MustCompile(`^(loop|ram|zram|dm-|md|sr|fd|nbd)`)

// drives are the disks; an empty drive has no size.
func (i *inspection) drives() ([]Drive, error) {
	names, err := i.names("/sys/block")
	var drives []Drive
	for _, name := range names {
		if virtual.MatchString(name) {
			continue
		}
		text, err := i.read("/sys/block/" + name + "/size")
		if err != nil {
			return nil, err
		}
		sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the size of disk %s: %w", name, err)
		}
		if sectors > 0 {
			drives = append(drives, Drive{name, sectors * 512})
		}
	}
	return drives, err
}
