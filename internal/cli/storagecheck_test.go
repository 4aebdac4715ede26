package cli

import (
	"strings"
	"testing"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/storageprobe"
)

func TestCheckedStoragesAreShown(t *testing.T) {
	t.Parallel()
	checked := []operation.CheckedStorage{
		{Storage: "data", Type: "nfs", Where: "nas:/export", Machines: []operation.StorageMachine{
			{Machine: "gpu-01", OK: true, Result: storageprobe.Result{FileSystem: "nfs4", NFSVersion: "4.2", WriteMBs: 112.3, ReadMBs: 1080, LatencyMs: 0.42, FreeBytes: 3e12}},
			{Machine: "gpu-02", Result: storageprobe.Result{Problem: storageprobe.Refused}, Found: "the server nas does not export /export to this machine", Fix: "add the address"},
			{Machine: "gpu-03", Found: "the machine is unreachable", Fix: "start it"},
			{Machine: "gpu-04", LeftOut: true, Found: "in maintenance and unreachable; left as it is"},
		}},
		{Storage: "scratch", Type: "directory", Where: "/scratch", Notes: []string{"each machine has its own files"}, Machines: []operation.StorageMachine{
			{Machine: "gpu-01", OK: true, Result: storageprobe.Result{FileSystem: "ext4", Local: true, LatencyMs: 12.6}},
		}},
	}
	var text strings.Builder
	if err := ui.Text(&text, func(p *ui.Page) { writeCheckedStorages(p, checked) }); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/storagecheck.txt", text.String())
	var empty strings.Builder
	if err := ui.Text(&empty, func(p *ui.Page) { writeCheckedStorages(p, nil) }); err != nil || !strings.Contains(empty.String(), "no storages") {
		t.Errorf("got %q, %v", empty.String(), err)
	}
}
