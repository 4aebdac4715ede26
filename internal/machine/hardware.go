package machine

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Hardware describes a machine.
type Hardware struct {
	Hostname  string
	Cores     int
	MemoryMiB int
	OS        string   // "Debian GNU/Linux 12 (bookworm)"
	GPUs      []string // the name from the driver, else the vendor and device on the PCI bus
	Disks     []Disk
}

// Disk is a disk of a machine.
type Disk struct {
	Name  string
	Bytes int64
}

// hardwareScript prints one fact per line. GPUs without a driver are found on
// the PCI bus: display and processing controllers of NVIDIA and AMD.
const hardwareScript = `
echo "hostname $(hostname -s 2>/dev/null || cat /proc/sys/kernel/hostname)"
echo "cores $(nproc)"
echo "memory $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
echo "os $(. /etc/os-release 2>/dev/null; echo "${PRETTY_NAME:-}")"
if names=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null); then
  echo "$names" | sed 's/^/gpu /'
else
  for d in /sys/bus/pci/devices/*; do
    [ -e "$d/class" ] || continue
    case "$(cat "$d/vendor")/$(cat "$d/class")" in
    0x10de/0x03*) echo "gpu nvidia-$(cut -c3- "$d/device")" ;;
    0x1002/0x0380*|0x1002/0x12*) echo "gpu amd-$(cut -c3- "$d/device")" ;;
    esac
  done
fi
lsblk -bdno TYPE,NAME,SIZE 2>/dev/null | grep '^disk ' || true`

// ReadHardware reads the hardware of a machine.
func ReadHardware(ctx context.Context, h Host) (Hardware, error) {
	var hw Hardware
	out, err := h.Run(ctx, Command{Script: hardwareScript})
	if err == nil {
		hw, err = parseHardware(out.Stdout)
	}
	if err != nil {
		return hw, fmt.Errorf("read the hardware of machine %q: %w", h.Name(), err)
	}
	return hw, nil
}

func parseHardware(out string) (Hardware, error) {
	var hw Hardware
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		what, value, _ := strings.Cut(lines.Text(), " ")
		value = strings.TrimSpace(value)
		switch what {
		case "hostname":
			hw.Hostname = value
		case "cores":
			n, err := strconv.Atoi(value)
			if err != nil {
				return hw, fmt.Errorf("read the number of cores: %w", err)
			}
			hw.Cores = n
		case "memory":
			n, err := strconv.Atoi(value)
			if err != nil {
				return hw, fmt.Errorf("read the memory: %w", err)
			}
			hw.MemoryMiB = n / 1024
		case "os":
			hw.OS = value
		case "gpu":
			if value != "" {
				hw.GPUs = append(hw.GPUs, value)
			}
		case "disk":
			name, size, _ := strings.Cut(value, " ")
			n, err := strconv.ParseInt(strings.TrimSpace(size), 10, 64)
			if err == nil && n > 0 { // an empty drive has no size
				hw.Disks = append(hw.Disks, Disk{name, n})
			}
		}
	}
	if hw.Cores == 0 || hw.MemoryMiB == 0 {
		return hw, fmt.Errorf("no cores or no memory in %q", out)
	}
	return hw, lines.Err()
}
