package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestBoundsOfWhatIsShared(t *testing.T) {
	t.Parallel()
	all := VirtualCluster{CPU: 8, GPU: 4, Borrow: true, Lend: true}
	for _, c := range []struct {
		name, resource string
		vc             VirtualCluster
		want           []QuotaBound
	}{
		{"neither", "cpu", VirtualCluster{CPU: 8}, nil},
		{"everything", "nvidia.com/gpu", all, nil},
		{"no limit", "memory", all, []QuotaBound{{"borrowingLimit", "0"}, {"lendingLimit", "0"}}},
		{"a resource that no virtual cluster shares", "pods", all, []QuotaBound{{"borrowingLimit", "0"}, {"lendingLimit", "0"}}},
		{"borrows only", "cpu", VirtualCluster{CPU: 8, Borrow: true}, []QuotaBound{{"lendingLimit", "0"}}},
		{"lends only", "cpu", VirtualCluster{CPU: 8, Lend: true}, []QuotaBound{{"borrowingLimit", "0"}}},
		{"bounds", "memory", VirtualCluster{MemoryMB: 8, Borrow: true, BorrowMemoryMB: 3, Lend: true, LendMemoryMB: 2}, []QuotaBound{{"borrowingLimit", "3Mi"}, {"lendingLimit", "2Mi"}}},
	} {
		if got := c.vc.QuotaBounds(c.resource); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCheckRefusesBoundsWithoutEffect(t *testing.T) {
	t.Parallel()
	for keys, want := range map[string]string{
		"cpu: 2, borrow: true, lend: true, lend-cpu: 2, borrow-gpu: 8, weight: 2": "",
		"cpu: 2, borrow-cpu: 1":                   "borrow-cpu: virtual cluster vision does not have borrow: true",
		"cpu: 2, lend: true, borrow-gpu: 1":       "borrow-gpu: virtual cluster vision does not have borrow: true",
		"cpu: 2, lend: true, borrow-memory-mb: 1": "borrow-memory-mb: virtual cluster vision does not have borrow: true",
		"cpu: 2, lend: true, weight: 3":           "weight: virtual cluster vision does not have borrow: true",
		"cpu: 2, borrow: true, lend-cpu: 1":       "lend-cpu: virtual cluster vision does not have lend: true",
		"cpu: 2, lend: true, lend-cpu: 3":         "lend-cpu: virtual cluster vision lends more than its cpu, which is 2",
		"cpu: 2, lend: true, lend-gpu: 1":         "lend-gpu: virtual cluster vision lends more than its gpu, which is not limited",
		"cpu: 2, lend: true, lend-memory-mb: 1":   "lend-memory-mb: virtual cluster vision lends more than its memory-mb, which is not limited",
		"cpu: 2, lend: true, lend-cpu: 0":         "lend-cpu: 0 is not between",
		"borrow: true":                            "borrow: virtual cluster vision has no limit",
		"task-disk-mb: 9, lend: true":             "lend: virtual cluster vision has no limit",
		"cpu: 2, borrow: true, weight: 1001":      "weight: 1001 is not between",
	} {
		dir := writeGood(t)
		services := goodFiles(t)[ServicesFile]
		if before, _, found := strings.Cut(services, "virtual-clusters:"); found {
			services = before
		}
		write(t, filepath.Join(dir, ServicesFile), services+"virtual-clusters:\n  vision: {"+keys+"}\n")
		_, report := Check(dir)
		if got := fmt.Sprint(report.Problems); (want == "") != (len(report.Problems) == 0) || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", keys, got, want)
		}
	}
}
