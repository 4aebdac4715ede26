package rest

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// onlyDynamic is a cluster that is only read through its dynamic client.
type onlyDynamic struct {
	Cluster
	client dynamic.Interface
}

func (d onlyDynamic) Dynamic() dynamic.Interface { return d.client }

// The workloads of a job are found whichever version Kueue serves, and an API that is
// not responding is an error and not a job without workloads.
func TestWorkloadsOfEveryServedVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		serves []schema.GroupVersionResource
		found  int
		fails  bool
	}{
		{"both versions", []schema.GroupVersionResource{workloads, newerWorkloads}, 1, false},
		{"the older version", []schema.GroupVersionResource{workloads}, 1, false},
		{"the newer version", []schema.GroupVersionResource{newerWorkloads}, 1, false},
		{"none", nil, 0, true},
	} {
		var objects []runtime.Object
		kinds := map[schema.GroupVersionResource]string{workloads: "WorkloadList", newerWorkloads: "WorkloadList"}
		for _, v := range c.serves {
			objects = append(objects, &unstructured.Unstructured{Object: map[string]any{"apiVersion": v.GroupVersion().String(), "kind": "Workload",
				"metadata": map[string]any{"namespace": "pai-vc-default", "name": "jobset-train", "labels": map[string]any{labelJobUID: "u1"}}}})
		}
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...)
		client.PrependReactor("list", "workloads", func(a clienttesting.Action) (bool, runtime.Object, error) {
			for _, v := range c.serves {
				if a.GetResource() == v {
					return false, nil, nil
				}
			}
			return true, nil, apierrors.NewNotFound(workloads.GroupResource(), "")
		})
		job := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "pai-vc-default", "name": "train", "uid": "u1"}}}
		got, err := (&Core{cluster: onlyDynamic{client: client}}).workloadsOf(t.Context(), job)
		if len(got) != c.found || (err != nil) != c.fails {
			t.Errorf("%s: got %d workloads, %v", c.name, len(got), err)
		}
	}
}
