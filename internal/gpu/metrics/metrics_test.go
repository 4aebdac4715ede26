package metrics_test

import (
	"os"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/gpu/holders"
	"pai.dev/pai/internal/gpu/metrics"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	half, degrees, errors := 0.5, 61.0, 2.0
	file := filepath.Join(t.TempDir(), "metrics", "gpu.prom")
	err := metrics.Write(file, metrics.State{Driver: "535.261.03", HoldersKnown: true, GPUs: []metrics.GPU{
		{Device: gpu.Device{UUID: "GPU-a", Name: "NVIDIA H100"}, Healthy: true, Sample: gpu.Sample{Utilization: &half, Celsius: &degrees},
			Holder: holders.Holder{Namespace: "pai-vc-default", Pod: "train-worker-0", Container: "worker"}},
		{Device: gpu.Device{Index: 1, UUID: "GPU-b", Name: "NVIDIA H100"}, Sample: gpu.Sample{ECCUncorrected: &errors}, Xids: map[uint64]uint64{79: 1, 31: 3}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/gpu.prom", string(data))
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("got mode %v, error %v; node-exporter, which is another user, reads it", info.Mode(), err)
	}
}

func TestMetricsWithoutADriver(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gpu.prom")
	if err := metrics.Write(file, metrics.State{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/none.prom", string(data))
}
