package inspect_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/test/inspecttest"
)

const (
	askTool = "nvidia-smi --query-gpu=uuid,pci.bus_id --format=csv,noheader"
	askLog  = "journalctl --dmesg --boot --quiet --no-pager --output=cat --lines=200 --grep=NVRM: Xid .*: 79,"
)

// withGPUs is a machine with GPUs at two addresses, and a driver that serves them.
func withGPUs(t *testing.T) *inspecttest.Root {
	t.Helper()
	r := inspecttest.NewRoot(t)
	for minor, address := range []string{"0000:41:00.0", "0000:c1:00.0"} {
		bus := "/sys/bus/pci/devices/" + address
		r.Write(bus+"/vendor", "0x10de\n")
		r.Write(bus+"/class", "0x030200\n")
		r.Link(bus+"/driver", "../../../bus/pci/drivers/nvidia")
		r.Write("/proc/driver/nvidia/gpus/"+address+"/information", fmt.Sprintf("Model: \t\t A100\nDevice Minor: \t %d\nGPU Excluded:\t No\n", minor))
		r.Write(fmt.Sprintf("/dev/nvidia%d", minor), "")
	}
	r.Write("/sys/bus/pci/devices/0000:00:02.0/vendor", "0x8086\n")
	r.Write("/sys/bus/pci/devices/0000:00:02.0/class", "0x030000\n")
	r.Write("/dev/nvidiactl", "")
	r.Write("/dev/nvidia-uvm", "")
	r.Write("/sys/module/nvidia/version", "535.261.03\n")
	r.Write("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.535.261.03", "")
	r.Link("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1", "libnvidia-ml.so.535.261.03")
	r.Programs[askTool] = "GPU-1b2c-0f, 00000000:41:00.0\nGPU-1b2d-0e, 00000000:C1:00.0\n"
	r.Programs["dmesg"] = "[    0.000000] Linux version 6.1\n"
	return r
}

func without(t *testing.T, r *inspecttest.Root, files ...string) {
	t.Helper()
	for _, file := range files {
		if err := r.Remove(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
}

func gpusOf(t *testing.T, r *inspecttest.Root) inspect.GPUs {
	t.Helper()
	report := ask(t, r, inspect.GPUsOf)
	if err := report.Needs(inspect.GPUsOf); err != nil {
		t.Fatal(err)
	}
	return *report.GPUs
}

func TestGPUsAndTheirDriver(t *testing.T) {
	t.Parallel()
	healthy := inspect.GPUs{
		Bus: []string{"0000:41:00.0", "0000:c1:00.0"}, Drivers: map[string]string{"0000:41:00.0": "nvidia", "0000:c1:00.0": "nvidia"},
		Module: "535.261.03", Libraries: []string{"535.261.03"}, Tool: &inspect.GPUTool{Listed: []string{"0000:41:00.0", "0000:c1:00.0"}},
		Files: []string{"/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1"}, LogRead: true,
	}
	if got := gpusOf(t, withGPUs(t)); !reflect.DeepEqual(got, healthy) {
		t.Errorf("got %+v, want %+v", got, healthy)
	}

	r := withGPUs(t)
	without(t, r, "/dev/nvidia1", "/dev/nvidia-uvm")
	if got := gpusOf(t, r).Missing; strings.Join(got, " ") != "/dev/nvidia-uvm /dev/nvidia1" {
		t.Errorf("got missing files %q", got)
	}

	r = withGPUs(t)
	without(t, r, "/sys/module/nvidia/version")
	r.Link("/sys/bus/pci/devices/0000:41:00.0/driver", "../../../bus/pci/drivers/nouveau")
	if got := gpusOf(t, r); got.Tool != nil || got.Module != "" || got.Drivers["0000:41:00.0"] != "nouveau" || len(got.Files) > 0 {
		t.Errorf("got %+v without a module, want nvidia-smi not asked", got)
	}

	r = withGPUs(t)
	r.Programs[askTool] = "GPU-1b2c-0f, 00000000:41:00.0\nUnable to determine the device handle for GPU1: 0000:C1:00.0: GPU is lost.\n"
	if got := gpusOf(t, r).Tool; len(got.Listed) != 1 || !strings.Contains(got.Said, "GPU is lost") {
		t.Errorf("got %+v", got)
	}

	r = withGPUs(t)
	delete(r.Programs, askTool)
	if got := gpusOf(t, r).Tool; got.Failed == "" || got.Stuck {
		t.Errorf("got %+v, want a failed nvidia-smi", got)
	}

	if got := gpusOf(t, inspecttest.NewRoot(t)); got.Tool != nil || len(got.Bus) > 0 || got.Module != "" || got.LogRead {
		t.Errorf("got %+v of a machine with nothing", got)
	}
}

func TestLostGPUsAreInTheKernelLog(t *testing.T) {
	t.Parallel()
	const lost = "NVRM: Xid (PCI:0000:c1:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
	for name, c := range map[string]struct {
		journal, buffer *string
		want            string
		known           bool
	}{
		"journal":        {new(lost + "\n" + lost + "\n"), nil, "0000:c1:00.0", true},
		"nothing found":  {nil, new("[ 1.0] NVRM: loading\n"), "", true}, // journalctl then ends with code 1
		"no journal":     {nil, new("[ 9.1] " + lost + "\n"), "0000:c1:00.0", true},
		"another number": {nil, new("NVRM: Xid (PCI:0000:c1:00): 31, pid=79, Ch 00000008\n"), "", true},
		"no log":         {nil, nil, "", false},
	} {
		r := withGPUs(t)
		delete(r.Programs, "dmesg")
		if c.journal != nil {
			r.Programs[askLog] = *c.journal
		}
		if c.buffer != nil {
			r.Programs["dmesg"] = *c.buffer
		}
		report := ask(t, r, inspect.GPUsOf)
		if got := report.GPUs; strings.Join(got.Lost, " ") != c.want || got.LogRead != c.known || (report.ProblemOf(inspect.GPUsOf, "log") == nil) != c.known {
			t.Errorf("%s: got %q, read %v, %v", name, got.Lost, got.LogRead, report.Problems)
		}
	}
}

// A driver can keep nvidia-smi in the kernel. The answer comes without it, and a later one
// starts no second process.
func TestHangingToolEndsNoAnswer(t *testing.T) {
	t.Parallel()
	r := withGPUs(t)
	synctest.Test(t, func(t *testing.T) {
		m, inner := r.Machine(), r.Machine().Run
		released := make(chan struct{})
		m.Run = func(ctx context.Context, name string, args ...string) (string, error) {
			if name == "nvidia-smi" {
				<-released // whatever ctx says
			}
			return inner(ctx, name, args...)
		}
		started := time.Now()
		report := m.Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.GPUsOf}}, "self")
		if took := time.Since(started); report.GPUs == nil || report.GPUs.Tool == nil || !report.GPUs.Tool.Stuck || took > 15*time.Second {
			t.Errorf("got %+v after %s", report.GPUs, took)
		}
		close(released)
	})
	r.Write("/proc/4711/stat", "4711 (nvidia-smi) D 1 4711 4711 0 -1 4194560\n")
	r.Programs[askTool] = "asked"
	if tool := gpusOf(t, r).Tool; !tool.Stuck || !strings.Contains(tool.Failed, "process 4711") || tool.Said != "" {
		t.Errorf("got %+v, want no second nvidia-smi", tool)
	}
	r.Write("/proc/4711/stat", "4711 (nvidia-smi) S 1 4711 4711 0 -1 4194560\n")
	if tool := gpusOf(t, r).Tool; tool.Stuck {
		t.Errorf("got %+v beside one that sleeps", tool)
	}
}
