// Package metrics writes what GPUs measure into a file that node-exporter shows. So the
// metrics have the login and the port of node-exporter, and the agent listens on no port
// and knows no password.
package metrics

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/gpu/holders"
)

// A GPU is what is shown of one.
type GPU struct {
	gpu.Device
	Healthy bool
	Sample  gpu.Sample
	Holder  holders.Holder    // empty if no container has it
	Xids    map[uint64]uint64 // how often each occurred
}

// State is what is shown of a machine.
type State struct {
	Driver string // version; empty if the driver does not work
	GPUs   []GPU
	// HoldersKnown is false if the kubelet did not say who has which GPU.
	HoldersKnown bool
}

// Write writes the file, at once.
func Write(path string, s State) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(s); err != nil {
		return fmt.Errorf("write the metrics of GPUs: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the metrics of GPUs: %w", err)
	}
	if err := prometheus.WriteToTextfile(path, registry); err != nil {
		return fmt.Errorf("write the metrics of GPUs: %w", err)
	}
	return nil
}

// Describe describes nothing in advance: which metrics there are depends on the GPUs.
func (s State) Describe(chan<- *prometheus.Desc) {}

// labels name a GPU and the container that has it. The namespace and the pod name the job.
func labels() []string { return []string{"uuid", "gpu", "model", "namespace", "pod", "container"} }

func desc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("pai_gpu_"+name, help, append(labels(), more...), nil)
}

// measured are the metrics that come from a sample.
func measured() []struct {
	name, help string
	kind       prometheus.ValueType
	value      func(gpu.Sample) *float64
} {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []struct {
		name, help string
		kind       prometheus.ValueType
		value      func(gpu.Sample) *float64
	}{
		{"utilization_ratio", "Share of the time in which something ran on the GPU.", gauge, func(s gpu.Sample) *float64 { return s.Utilization }},
		{"memory_utilization_ratio", "Share of the time in which memory of the GPU was read or written.", gauge, func(s gpu.Sample) *float64 { return s.MemoryUtilization }},
		{"memory_total_bytes", "Memory of the GPU.", gauge, func(s gpu.Sample) *float64 { return s.MemoryTotal }},
		{"memory_used_bytes", "Memory of the GPU that is in use.", gauge, func(s gpu.Sample) *float64 { return s.MemoryUsed }},
		{"power_watts", "Power that the GPU takes.", gauge, func(s gpu.Sample) *float64 { return s.PowerWatts }},
		{"temperature_celsius", "Temperature of the GPU.", gauge, func(s gpu.Sample) *float64 { return s.Celsius }},
		{"ecc_corrected_errors_total", "Memory errors that were corrected since the driver was loaded.", counter, func(s gpu.Sample) *float64 { return s.ECCCorrected }},
		{"ecc_uncorrected_errors_total", "Memory errors that were not corrected since the driver was loaded.", counter, func(s gpu.Sample) *float64 { return s.ECCUncorrected }},
		{"nvlinks_active", "NVLinks of the GPU that are up.", gauge, func(s gpu.Sample) *float64 { return s.NVLinksActive }},
		{"nvlink_errors_total", "Errors of the NVLinks of the GPU.", counter, func(s gpu.Sample) *float64 { return s.NVLinkErrors }},
	}
}

// Collect makes the metrics.
func (s State) Collect(to chan<- prometheus.Metric) {
	up := prometheus.NewDesc("pai_gpu_driver_up", "Whether the driver works.", []string{"driver"}, nil)
	known := prometheus.NewDesc("pai_gpu_holders_known", "Whether the kubelet says which container has which GPU.", nil, nil)
	to <- prometheus.MustNewConstMetric(up, prometheus.GaugeValue, truth(s.Driver != ""), s.Driver)
	to <- prometheus.MustNewConstMetric(known, prometheus.GaugeValue, truth(s.HoldersKnown))
	for _, g := range s.GPUs {
		of := []string{g.UUID, strconv.Itoa(g.Index), g.Name, g.Holder.Namespace, g.Holder.Pod, g.Holder.Container}
		to <- prometheus.MustNewConstMetric(desc("healthy", "Whether the GPU is offered to new jobs."), prometheus.GaugeValue, truth(g.Healthy), of...)
		for _, m := range measured() {
			if v := m.value(g.Sample); v != nil {
				to <- prometheus.MustNewConstMetric(desc(m.name, m.help), m.kind, *v, of...)
			}
		}
		for xid, n := range g.Xids {
			to <- prometheus.MustNewConstMetric(desc("xid_errors_total", "Xid errors of the GPU since the machine booted.", "xid"),
				prometheus.CounterValue, float64(n), append(of[:len(of):len(of)], strconv.FormatUint(xid, 10))...)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
