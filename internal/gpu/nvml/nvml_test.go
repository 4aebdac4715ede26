package nvml

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/internal/gpu"
)

// faultsVariable is the directory that testdata/driver.c reads.
const faultsVariable = "FAKE_DRIVER_DIR"

// TestMain starts this program again with the directory in its environment: the library
// sees the environment that a program starts with, not what Go changes in it.
func TestMain(m *testing.M) {
	if os.Getenv(faultsVariable) != "" {
		code := m.Run()
		if err := os.RemoveAll(os.Getenv(faultsVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	dir, err := os.MkdirTemp("", "pai-nvml-")
	if err == nil {
		err = syscall.Exec(os.Args[0], os.Args, append(os.Environ(), faultsVariable+"="+dir))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// build makes the library of testdata/driver.c, without faults.
func build(t *testing.T) (library, faults string) {
	t.Helper()
	library, faults = filepath.Join(t.TempDir(), "libnvidia-ml.so.1"), os.Getenv(faultsVariable)
	if out, err := exec.CommandContext(t.Context(), "gcc", "-shared", "-fPIC", "-o", library, "testdata/driver.c").CombinedOutput(); err != nil {
		t.Fatalf("build the library: %v\n%s", err, out)
	}
	for _, name := range []string{"xid", "lost", "down"} {
		if err := os.Remove(filepath.Join(faults, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return library, faults
}

func open(t *testing.T, library string) *Library {
	t.Helper()
	l, err := Open(library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name+".new"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestDevicesAndSamples(t *testing.T) {
	library, _ := build(t)
	l := open(t, library)
	driver, err := l.Driver()
	if err != nil || driver != "535.261.03" {
		t.Fatalf("got driver %q, %v", driver, err)
	}
	devices, lost, err := l.Devices()
	if err != nil || len(devices) != 2 || len(lost) != 0 {
		t.Fatalf("got %+v, lost %v, %v; want two GPUs", devices, lost, err)
	}
	want := gpu.Device{Index: 1, Minor: 1, UUID: "GPU-00000000-0000-0000-0000-000000000001", Name: "NVIDIA H100 80GB HBM3", BusID: "00000000:02:00.0"}
	if devices[1] != want {
		t.Errorf("got %+v, want %+v", devices[1], want)
	}
	s, err := l.Sample(want.UUID)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		got  *float64
		want float64
	}{
		"utilization": {s.Utilization, 0.5}, "memory utilization": {s.MemoryUtilization, 0.25},
		"memory": {s.MemoryTotal, 80 << 30}, "used memory": {s.MemoryUsed, 8 << 30}, "power": {s.PowerWatts, 350}, "temperature": {s.Celsius, 61},
		"corrected errors": {s.ECCCorrected, 7}, "uncorrected errors": {s.ECCUncorrected, 2}, "links": {s.NVLinksActive, 3}, "link errors": {s.NVLinkErrors, 3},
	} {
		if c.got == nil || *c.got != c.want {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
}

func TestLostGPUIsReported(t *testing.T) {
	library, faults := build(t)
	l := open(t, library)
	if _, _, err := l.Devices(); err != nil {
		t.Fatal(err)
	}
	write(t, faults, "lost", "1")
	devices, lost, err := l.Devices()
	if err != nil || len(devices) != 1 || devices[0].Index != 0 || lost[1] == nil {
		t.Errorf("got %+v, lost %v, %v; want GPU 1 to be lost", devices, lost, err)
	}
	if _, err := l.Sample("GPU-00000000-0000-0000-0000-000000000001"); err == nil || !strings.Contains(err.Error(), "GPU is lost") {
		t.Errorf("got %v from the lost GPU, want that it is lost", err)
	}
	if _, err := l.Sample("GPU-00000000-0000-0000-0000-000000000000"); err != nil {
		t.Errorf("the other GPU: %v", err)
	}
}

func TestEventsAreReported(t *testing.T) {
	library, faults := build(t)
	l := open(t, library)
	devices, _, err := l.Devices()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	events, unwatched := make(chan gpu.Event, 1), []string{}
	done := make(chan error, 1)
	go func() {
		done <- l.Watch(ctx, []string{devices[0].UUID, devices[1].UUID, "GPU-unknown"}, func(uuid string, _ error) { unwatched = append(unwatched, uuid) },
			func(e gpu.Event) { events <- e })
	}()
	for content, want := range map[string]gpu.Event{"1 79": {UUID: devices[1].UUID, Xid: 79}, "9 79": {Xid: 79}} {
		write(t, faults, "xid", content)
		select {
		case e := <-events:
			if e != want {
				t.Errorf("%s: got %+v, want %+v", content, e, want)
			}
		case err := <-done:
			t.Fatalf("the watch ended: %v", err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v from a watch that was stopped", err)
	}
	if len(unwatched) != 1 || unwatched[0] != "GPU-unknown" {
		t.Errorf("got unwatched GPUs %q, want the unknown one", unwatched)
	}
}

func TestDriverThatDoesNotWork(t *testing.T) {
	library, faults := build(t)
	write(t, faults, "down", "")
	if _, err := Open(library); err == nil || !strings.Contains(err.Error(), "Driver Not Loaded") {
		t.Errorf("got %v, want that the driver is not loaded", err)
	}
	if _, err := Open(library + ".missing"); err == nil {
		t.Error("a missing library was opened")
	}
	other := filepath.Join(filepath.Dir(library), "other.so")
	if out, err := exec.CommandContext(t.Context(), "gcc", "-shared", "-x", "c", "-o", other, "/dev/null").CombinedOutput(); err != nil {
		t.Fatalf("build a library: %v\n%s", err, out)
	}
	if _, err := Open(other); err == nil || !strings.Contains(err.Error(), "lacks the function nvml") {
		t.Errorf("got %v from a library without functions", err)
	}
}
