//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// startDevicePlugin runs test/deviceplugin on a machine, as its own unit,
// and waits until the machine offers its devices.
func (o *operator) startDevicePlugin(machine string, devices string) {
	o.t.Helper()
	program := filepath.Join(o.t.TempDir(), "deviceplugin")
	build := exec.Command("go", "build", "-o", program, "./test/deviceplugin")
	build.Dir = repository()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		o.t.Fatalf("build the device plugin: %v\n%s", err, out)
	}
	f, err := os.Open(program)
	if err != nil {
		o.t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := o.try(ctx, f, "machine", "shell", machine, "--", `cat >/root/deviceplugin && chmod +x /root/deviceplugin &&
		systemd-run --quiet --unit=test-deviceplugin /root/deviceplugin -count `+devices); err != nil {
		o.t.Fatal(err)
	}
	o.eventually(time.Minute, "the machine offers devices", func() (bool, string) {
		out := o.kubectl("get node " + machine + ` -o jsonpath='{.status.allocatable.nvidia\.com/gpu}'`)
		return out == devices, out
	})
}

// deviceHolders is who holds which device, as the machine's kubelet says: pod → device.
func (o *operator) deviceHolders(machine string) map[string]string {
	o.t.Helper()
	holders := map[string]string{}
	for line := range strings.Lines(o.on(machine, "/root/deviceplugin -list")) {
		if f := strings.Fields(line); len(f) == 3 {
			holders[f[0]] = f[2]
		}
	}
	return holders
}

// devicesAreKept wants, after an upgrade with a job that holds a device, that
// the device is still accounted to the job and that another job gets the other.
func (o *operator) devicesAreKept(machine string, before map[string]string) {
	t := o.t
	for pod, device := range before {
		if now := o.deviceHolders(machine); now[pod] != device || len(now) != len(before) {
			t.Fatalf("pod %s held %s; after the upgrade the kubelet says %v", pod, device, now)
		}
	}
	o.eventually(time.Minute, "the plugin is registered with the new kubelet", func() (bool, string) {
		out := o.on(machine, "journalctl -u test-deviceplugin -o cat --no-pager")
		return strings.Count(out, "registered ") >= 2, out
	})
	o.run(time.Minute, "job", "submit", "test/e2e/testdata/device-2.yaml")
	o.eventually(time.Minute, "a second job holds a device", func() (bool, string) {
		now := o.deviceHolders(machine)
		if len(now) != 2 {
			return false, o.kubectl("get pods -A -l pai.dev/job -o wide")
		}
		seen := map[string]string{}
		for pod, device := range now {
			if other := seen[device]; other != "" {
				t.Fatalf("%s and %s hold the same device: %v", pod, other, now)
			}
			seen[device] = pod
		}
		return true, ""
	})
	o.run(time.Minute, "job", "stop", "device-2")
	// Its container has 30 seconds to end; later chapters compare containers.
	o.eventually(time.Minute, "the second job has ended", func() (bool, string) {
		left := o.containersOf("device-2")
		return len(left) == 0, fmt.Sprint(left)
	})
}
