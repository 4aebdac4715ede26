package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// A job gets the kind of machine that it asks for, or a refusal with the kinds.
func TestJobsChooseAKindOfMachine(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	ada := w.user(t, "ada", false)
	for _, name := range []string{"two", "three"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{pai.LabelMachineSKU: "a100"}, Annotations: map[string]string{pai.AnnotationMachineGPUs: "8"}}}
		n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("96"), corev1.ResourceMemory: resource.MustParse("800Gi")}
		if _, err := w.memory.clientset.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	quota, err := w.memory.Dynamic().Resource(clusterQueues).Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	groups := []any{map[string]any{"flavors": []any{map[string]any{"resources": []any{map[string]any{"name": gpuResource, "nominalQuota": "9"}}}}}}
	if err := unstructured.SetNestedSlice(quota.Object, groups, "spec", "resourceGroups"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.memory.Dynamic().Resource(clusterQueues).Update(t.Context(), quota, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	submit := func(name, kind string, instances, gpus int) (int, string) {
		text := strings.NewReplacer("gpu: 0", fmt.Sprintf("gpu: %d", gpus), "  worker:\n", fmt.Sprintf("  worker:\n    instances: %d\n", instances)).Replace(fmt.Sprintf(someJob, name))
		return w.ask(t, http.MethodPost, "/rest-server/api/v2/jobs", ada, text+"extras: {hivedScheduler: {taskRoles: {worker: {skuType: "+kind+"}}}}\n")
	}
	for _, c := range []struct {
		kind            string
		instances, gpus int
		want            string
	}{
		{"h100", 1, 1, "no machine is of the kind"},
		{"a100", 1, 16, "a machine of the kind a100 has 8"},
		{"a100", 2, 8, "virtual cluster default can use 9"},
	} {
		if status, answer := submit("no", c.kind, c.instances, c.gpus); status != 400 || !strings.Contains(answer, c.want) {
			t.Errorf("%+v: %d %s", c, status, answer)
		}
	}
	if status, answer := submit("yes", "a100", 1, 8); status != 202 {
		t.Fatalf("%d %s", status, answer)
	}
	set, err := w.memory.Dynamic().Resource(job.JobSets).Namespace("pai-vc-default").Get(t.Context(), job.ObjectName("ada", "yes"), metav1.GetOptions{})
	if err != nil || strings.Join(job.KindsOf(set), " ") != "a100" {
		t.Errorf("got %v, %v", set, err)
	}
	if got := forKinds(job.KindsOf(set)); got != " for machines of the kind a100" || forKinds(nil) != "" {
		t.Errorf("got %q", got)
	}
	for _, path := range []string{"cluster/sku-types", "virtual-clusters/default/sku-types"} {
		skus := answer[map[string]openpai.SKU](t, w, http.MethodGet, "/rest-server/api/v2/"+path, ada, "")
		if len(skus) != 1 || skus["a100"] != (openpai.SKU{GPU: 1, CPU: 12, Memory: 102400}) {
			t.Errorf("%s: %+v", path, skus)
		}
	}
}
