package rest

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// An object with the name of a job that belongs to another job is not that job.
func TestOtherJobWithTheSameObjectName(t *testing.T) {
	t.Parallel()
	id := JobID{"alice", "train"}
	for _, c := range []struct {
		name, user, job string
		found           bool
	}{
		{"the job", "alice", "train", true},
		{"without labels", "", "", true},
		{"of another user", "mallory", "train", false},
		{"of another name", "alice", "other", false},
	} {
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
			"metadata": map[string]any{
				"namespace": "pai-vc-default", "name": job.ObjectName(id.User, id.Name),
				"labels": map[string]any{pai.LabelUser: c.user}, "annotations": map[string]any{pai.AnnotationJobName: c.job},
			}}}
		kinds := map[schema.GroupVersionResource]string{job.JobSets: "JobSetList"}
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, obj)
		core := NewCore(onlyDynamic{client: client}, []string{"default"})
		_, err := core.find(t.Context(), id)
		if found := err == nil; found != c.found || err != nil && pai.CodeOf(err) != pai.CodeNotFound {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.found {
			continue
		}
		if err := core.requireUnused(t.Context(), id); pai.CodeOf(err) != pai.CodeConflict || errors.Is(err, errUnavailable) {
			t.Errorf("%s: in use: %v", c.name, err)
		}
	}
}
