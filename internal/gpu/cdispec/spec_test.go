package cdispec_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/gpu/cdispec"
)

const driver = "535.261.03"

// newRoot is a machine with a driver as Debian installs it, and what an older driver left.
func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	libs := "usr/lib/x86_64-linux-gnu"
	for _, dir := range []string{"dev", "usr/bin", libs + "/nvidia/current", "etc/alternatives"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"} { // character devices of this machine
		link(t, "/dev/null", filepath.Join(root, "dev", name))
	}
	for _, name := range []string{"libnvidia-ml.so." + driver, "libnvidia-glcore.so." + driver, "libcuda.so.525.1"} {
		write(t, filepath.Join(root, libs, name), "no library")
	}
	cuda := filepath.Join(root, libs, "nvidia/current/libcuda.so."+driver)
	out, err := exec.CommandContext(t.Context(), "gcc", "-shared", "-Wl,-soname,libcuda.so.1", "-x", "c", "-o", cuda, "/dev/null").CombinedOutput()
	if err != nil {
		t.Fatalf("build a library: %v\n%s", err, out)
	}
	write(t, filepath.Join(root, "etc/alternatives/nvidia-smi"), "program")
	link(t, "/etc/alternatives/nvidia-smi", filepath.Join(root, "usr/bin/nvidia-smi"))
	return root
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func devices() []gpu.Device {
	return []gpu.Device{{Index: 0, Minor: 0, UUID: "GPU-a"}, {Index: 1, Minor: 1, UUID: "GPU-b"}, {Index: 2, Minor: 2, UUID: "GPU-c"}}
}

func TestSpec(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	spec, missing, err := cdispec.Make(root, driver, devices())
	if err != nil {
		t.Fatal(err)
	}
	if len(missing) != 1 || missing["GPU-c"] == nil {
		t.Errorf("got missing %v, want the GPU without a device file", missing)
	}
	file := filepath.Join(t.TempDir(), "cdi", "gpu.json")
	if err := cdispec.Write(file, spec); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/spec.json", strings.ReplaceAll(string(data), root, "/driver"))
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := cdispec.Write(file, spec); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(file); err != nil || !os.SameFile(before, after) {
		t.Errorf("the same content was written again, error %v", err)
	}
}

func TestSpecRefusesWhatItCannotName(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	for _, c := range []struct{ driver, uuid string }{{"", "GPU-a"}, {"../535", "GPU-a"}, {driver, "GPU a"}, {driver, "../a"}, {driver, ""}, {driver, "-a"}} {
		if _, _, err := cdispec.Make(root, c.driver, []gpu.Device{{UUID: c.uuid}}); err == nil {
			t.Errorf("driver %q and UUID %q were accepted", c.driver, c.uuid)
		}
	}
}

func TestLinksThatNeverEnd(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	link(t, "nvidia-debugdump", filepath.Join(root, "usr/bin/nvidia-debugdump"))
	if _, _, err := cdispec.Make(root, driver, devices()); err == nil || !strings.Contains(err.Error(), "too many links") {
		t.Errorf("got %v, want too many links", err)
	}
}
