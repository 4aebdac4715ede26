package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/gpu/cdispec"
	"pai.dev/pai/internal/gpu/holders"
	"pai.dev/pai/internal/gpu/metrics"
	"pai.dev/pai/internal/gpu/plugin"
)

// look reads the GPUs, and publishes what it saw. The file for the container runtime
// comes before the offer, so that no container gets a GPU that the runtime does not know.
func (a *agent) look(ctx context.Context, library gpu.Library) error {
	driver, err := library.Driver()
	if err != nil {
		return err
	}
	devices, lost, err := library.Devices()
	if err != nil {
		return err
	}
	broken := map[string]error{}
	for index, err := range lost {
		a.Log.Error("a GPU is not responding", "index", index, "error", err)
	}
	for _, d := range a.gpus {
		if !slices.ContainsFunc(devices, func(o gpu.Device) bool { return o.UUID == d.UUID }) {
			broken[d.UUID] = errors.New("the driver no longer lists it")
			devices = append(devices, d)
		}
	}
	slices.SortFunc(devices, func(x, y gpu.Device) int { return x.Index - y.Index })
	samples := map[string]gpu.Sample{}
	for _, d := range devices {
		if broken[d.UUID] != nil {
			continue
		}
		if samples[d.UUID], err = library.Sample(d.UUID); err != nil {
			broken[d.UUID] = err
		}
		if d.MIG {
			broken[d.UUID] = errors.New("MIG is on, which PAI does not support")
		}
	}
	spec, missing, err := cdispec.Make(a.Root, driver, devices)
	if err != nil {
		return err
	}
	if err := cdispec.Write(a.SpecFile, spec); err != nil {
		return err
	}
	maps.Copy(broken, missing)
	a.driver, a.gpus, a.broken = driver, devices, broken
	a.publish(ctx, samples)
	return nil
}

// reason is why a GPU is unhealthy, or "".
func (a *agent) reason(uuid string) string {
	if text := a.known[uuid].Reason; text != "" {
		return text
	}
	if err := a.broken[uuid]; err != nil {
		return err.Error()
	}
	return ""
}

// publish offers the GPUs, and writes status and metrics.
func (a *agent) publish(ctx context.Context, samples map[string]gpu.Sample) {
	var offered []plugin.Device
	for _, d := range a.gpus {
		offered = append(offered, plugin.Device{ID: d.UUID, Healthy: a.reason(d.UUID) == "", NUMA: a.numa(d)})
	}
	a.plugin.Set(offered)
	a.writeStatus()
	of, err := holders.List(ctx, a.PodResources)
	if err != nil && a.registered.Load() {
		a.Log.Warn("who has which GPU is unknown", "error", err)
	}
	state := metrics.State{Driver: a.driver, HoldersKnown: err == nil}
	for _, d := range a.gpus {
		state.GPUs = append(state.GPUs, metrics.GPU{
			Device: d, Healthy: a.reason(d.UUID) == "", Sample: samples[d.UUID], Holder: of[d.UUID], Xids: a.known[d.UUID].Xids,
		})
	}
	if err := metrics.Write(a.MetricsFile, state); err != nil {
		a.Log.Error("write metrics", "error", err)
	}
}

// numa is the NUMA node of a GPU; negative if it is unknown.
func (a *agent) numa(d gpu.Device) int {
	// The driver writes the domain with eight digits, the kernel with four.
	id := strings.ToLower(d.BusID)
	if len(id) > len("0000:00:00.0") {
		id = id[len(id)-len("0000:00:00.0"):]
	}
	data, err := os.ReadFile(filepath.Join(a.Root, "/sys/bus/pci/devices", filepath.Base(id), "numa_node"))
	if err != nil {
		return -1
	}
	node, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return -1
	}
	return node
}

// record notes an error of a GPU. It makes the GPU unhealthy unless the program on it
// caused the error. An error without a GPU counts for all of them.
func (a *agent) record(ctx context.Context, e gpu.Event) {
	ids := []string{e.UUID}
	if e.UUID == "" {
		ids = uuids(a.gpus)
	}
	of, err := holders.List(ctx, a.PodResources)
	if err != nil {
		a.Log.Warn("who has which GPU is unknown", "error", err)
	}
	for _, id := range ids {
		broken := !gpu.ByApplication(e.Xid)
		a.known.add(id, e.Xid, broken)
		log := a.Log.With("gpu", id, "error", gpu.DescribeXid(e.Xid), "namespace", of[id].Namespace, "pod", of[id].Pod)
		if broken {
			log.Error("a GPU is unhealthy: it is not offered to new jobs until the machine reboots")
		} else {
			log.Warn("a program on a GPU failed; the GPU stays healthy")
		}
	}
	if err := a.known.write(a.HealthFile); err != nil {
		a.Log.Error(fmt.Sprintf("the next start will not know of %s", gpu.DescribeXid(e.Xid)), "error", err)
	}
}
