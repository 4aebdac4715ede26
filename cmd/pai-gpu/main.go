// Command pai-gpu is the agent for NVIDIA GPUs on a machine: it offers them to the
// kubelet, describes them for the container runtime, watches their health, and measures
// them. See package gpu.
//
// It loads the library of the driver while it runs, so it needs the C library of the
// machine, and no C compiler to be built.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/gpu/agent"
	"pai.dev/pai/internal/gpu/cdispec"
	"pai.dev/pai/internal/gpu/nvml"
	"pai.dev/pai/internal/layout"
)

func main() {
	root := flag.String("driver-root", "/", "`directory` with the files of the driver")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The journal has the time of each line.
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	err := agent.Run(ctx, agent.Options{
		Root:      *root,
		PluginDir: layout.DevicePluginsDir, PodResources: layout.PodResourcesSocket,
		SpecFile: layout.GPUSpecFile, HealthFile: layout.GPUHealthFile, StatusFile: layout.GPUStatusFile, MetricsFile: layout.GPUMetricsFile,
		Open:    func() (gpu.Library, error) { return nvml.Open(cdispec.FindLibrary(*root)) },
		Prepare: func(ctx context.Context) { loadMemoryDriver(ctx, *root, log) },
		Timings: agent.DefaultTimings(), Log: log,
	})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pai-gpu:", err)
		os.Exit(1)
	}
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

const modprobeTimeout = 20 * time.Second

// loadMemoryDriver has the driver make /dev/nvidia-uvm, which CUDA needs. The driver does
// that only on request, and a program in a container cannot.
func loadMemoryDriver(ctx context.Context, root string, log *slog.Logger) {
	if _, err := os.Stat(root + "/dev/nvidia-uvm"); err == nil || root != "/" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, modprobeTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "nvidia-modprobe", "-u", "-c", "0").CombinedOutput(); err != nil {
		log.Warn("/dev/nvidia-uvm is missing, without which CUDA programs fail", "error", err, "output", string(out))
	}
}
