package service

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/golden"
)

// queuesOf are the queues of virtual clusters, by name, and the values of the chart, as the
// newest release renders them. The chart itself comes from a module and is not needed.
func queuesOf(t *testing.T, cfg *config.Config) (queues map[string]*unstructured.Unstructured, values string) {
	t.Helper()
	all := sources(t)
	src := all[len(all)-1]
	in, err := newInput(oneService(t, src, "kueue", nil), cfg, src)
	if err != nil {
		t.Fatal(err)
	}
	objs, err := in.decodeFile(objectsFile)
	if err != nil {
		t.Fatal(err)
	}
	queues = map[string]*unstructured.Unstructured{}
	for _, o := range objs {
		if o.GetKind() == "ClusterQueue" {
			queues[o.GetName()] = o
		}
	}
	text, err := in.execute(valuesFile)
	if err != nil {
		t.Fatal(err)
	}
	return queues, string(text)
}

func TestQueuesThatShare(t *testing.T) {
	cfg := testConfig()
	cfg.Services.VirtualClusters = map[string]config.VirtualCluster{
		"alone":  {GPU: 1},
		"vision": {CPU: 8, GPU: 4, Borrow: true, BorrowGPU: 3, Weight: 2},
		"speech": {CPU: 16, MemoryMB: 4096, GPU: 8, Lend: true, LendCPU: 8, LendMemoryMB: 1024},
	}
	queues, values := queuesOf(t, cfg)
	golden.Check(t, filepath.Join("testdata", "kueue-queues-that-share.yaml"),
		readable(t, []*unstructured.Unstructured{queues["alone"], queues["vision"], queues["speech"]}))
	if !strings.Contains(values, "fairSharing: {enable: true}") || !strings.Contains(values, "FairSharingPreemptWithinNominal: false") {
		t.Errorf("with a weight, fair sharing is not on as it must be\n%s", values)
	}
	cfg.Services.VirtualClusters["vision"] = config.VirtualCluster{CPU: 8, GPU: 4, Borrow: true}
	if _, values := queuesOf(t, cfg); !strings.Contains(values, "fairSharing: {enable: false}") || strings.Contains(values, "FairSharingPreempt") {
		t.Errorf("without a weight, fair sharing is on\n%s", values)
	}
}

// Whatever is shared: no queue preempts, only what has a limit is shared, and Kueue accepts
// the queue (it refuses bounds without a cohort, and to lend more than there is).
func TestSharingPreemptsNothing(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		vc := config.VirtualCluster{CPU: rapid.IntRange(0, 9).Draw(r, "cpu"), MemoryMB: rapid.IntRange(0, 9).Draw(r, "memory"), GPU: rapid.IntRange(0, 9).Draw(r, "gpu")}
		if vc.Borrow = rapid.Bool().Draw(r, "borrow"); vc.Borrow {
			vc.BorrowCPU, vc.BorrowGPU, vc.Weight = rapid.IntRange(0, 20).Draw(r, "borrow cpu"), rapid.IntRange(0, 20).Draw(r, "borrow gpu"), rapid.IntRange(0, 9).Draw(r, "weight")
		}
		if vc.Lend = rapid.Bool().Draw(r, "lend"); vc.Lend {
			vc.LendCPU, vc.LendMemoryMB = rapid.IntRange(0, vc.CPU).Draw(r, "lend cpu"), rapid.IntRange(0, vc.MemoryMB).Draw(r, "lend memory")
		}
		cfg := testConfig()
		cfg.Services.VirtualClusters = map[string]config.VirtualCluster{"some": vc}
		queues, _ := queuesOf(t, cfg)
		spec := queues["some"].Object["spec"].(map[string]any)
		preemption := spec["preemption"].(map[string]any)
		if preemption["withinClusterQueue"] != "Never" || preemption["reclaimWithinCohort"] != "Never" || preemption["borrowWithinCohort"].(map[string]any)["policy"] != "Never" || spec["stopPolicy"] != "None" {
			r.Fatalf("the queue ends jobs: %v", spec)
		}
		_, cohort := spec["cohort"]
		if _, weight := spec["fairSharing"]; cohort != vc.SharesQuota() || weight != (vc.Weight > 0) {
			r.Fatalf("%+v: cohort %t, weight %t", vc, cohort, weight)
		}
		limits := map[string]int{"cpu": vc.CPU, "memory": vc.MemoryMB, "nvidia.com/gpu": vc.GPU}
		group := spec["resourceGroups"].([]any)[0].(map[string]any)
		for _, item := range group["flavors"].([]any)[0].(map[string]any)["resources"].([]any) {
			of := item.(map[string]any)
			for field, shares := range map[string]bool{"borrowingLimit": vc.Borrow, "lendingLimit": vc.Lend} {
				bound, bounded := of[field]
				switch shares = shares && limits[of["name"].(string)] > 0; {
				case !cohort && bounded, cohort && !shares && bound != "0", shares && bound == "0":
					r.Fatalf("%+v: %s of %v is %v", vc, field, of["name"], bound)
				case bounded && field == "lendingLimit":
					lent, nominal := resource.MustParse(bound.(string)), resource.MustParse(of["nominalQuota"].(string))
					if lent.Cmp(nominal) > 0 {
						r.Fatalf("%v lends %v", of, bound)
					}
				}
			}
		}
	})
}
