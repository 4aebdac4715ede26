package gpu_test

import (
	"testing"

	"pai.dev/pai/internal/gpu"
)

func TestXidsOfApplications(t *testing.T) {
	t.Parallel()
	for xid, application := range map[uint64]bool{
		13: true, 31: true, 43: true, 45: true, 68: true, 109: true,
		48: false, 63: false, 64: false, 74: false, 79: false, 94: false, 95: false, 119: false, 120: false, 0: false, 9999: false,
	} {
		if got := gpu.ByApplication(xid); got != application {
			t.Errorf("Xid %d: got %t, want %t", xid, got, application)
		}
	}
	for xid, want := range map[uint64]string{79: "Xid 79 (GPU has fallen off the bus)", 31: "Xid 31 (GPU memory page fault)", 9999: "Xid 9999"} {
		if got := gpu.DescribeXid(xid); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
