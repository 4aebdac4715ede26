package job

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

func TestContainmentOfTask(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		containment   Containment
		capabilities  []string // in addition to those of every task
		disk, request string
	}{
		{name: "defaults", disk: "10Gi", request: "256Mi"},
		{name: "granted capability", containment: Containment{Capabilities: []string{"SYS_PTRACE"}}, capabilities: []string{"SYS_PTRACE"}, disk: "10Gi", request: "256Mi"},
		{name: "granted twice", containment: Containment{Capabilities: []string{"CHOWN", "IPC_LOCK", "IPC_LOCK"}}, capabilities: []string{"IPC_LOCK"}, disk: "10Gi", request: "256Mi"},
		{name: "less disk than the scheduler counts", containment: Containment{DiskMB: 100}, disk: "100Mi", request: "100Mi"},
		{name: "more disk", containment: Containment{DiskMB: 51200}, disk: "50Gi", request: "256Mi"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			j := &Spec{Containment: c.containment}
			pod := j.podSpec(TaskRole{CPUMilli: 100, MemoryMB: 64}, "alice", "texts")
			if p := pod.SecurityContext.SeccompProfile; p == nil || p.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("got seccomp profile %v, want that of the runtime", p)
			}
			s := pod.Containers[0].SecurityContext
			if *s.AllowPrivilegeEscalation || *s.Privileged || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("got %v, want no privileges and no other capabilities", s)
			}
			var got []string
			for _, name := range s.Capabilities.Add {
				got = append(got, string(name))
			}
			if want := slices.Sorted(slices.Values(slices.Concat(pai.TaskCapabilities(), c.capabilities))); !slices.Equal(got, want) {
				t.Errorf("got capabilities %v, want %v", got, want)
			}
			r := pod.Containers[0].Resources
			if disk, request := r.Limits.StorageEphemeral().String(), r.Requests.StorageEphemeral().String(); disk != c.disk || request != c.request {
				t.Errorf("got disk %s and request %s, want %s and %s", disk, request, c.disk, c.request)
			}
			if r.Limits.Memory().String() != "64Mi" || r.Requests.Memory().String() != "64Mi" {
				t.Errorf("got memory %v, want 64Mi", r)
			}
		})
	}
}

// withoutContainment removes from a JobSet what confines its tasks: PAI v0.10 confined
// none.
func withoutContainment(t *testing.T, js *unstructured.Unstructured) {
	t.Helper()
	roles, _, err := unstructured.NestedSlice(js.Object, "spec", "replicatedJobs")
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		pod, _, err := unstructured.NestedMap(role.(map[string]any), "template", "spec", "template", "spec")
		if err != nil {
			t.Fatal(err)
		}
		pod["securityContext"] = map[string]any{}
		for _, c := range pod["containers"].([]any) {
			container := c.(map[string]any)
			delete(container, "securityContext")
			for _, kind := range []string{"limits", "requests"} {
				unstructured.RemoveNestedField(container, "resources", kind, "ephemeral-storage")
			}
		}
		if err := unstructured.SetNestedMap(role.(map[string]any), pod, "template", "spec", "template", "spec"); err != nil {
			t.Fatal(err)
		}
		network := []string{"template", "spec", "template", "metadata", "annotations", pai.AnnotationNetwork}
		if job, _, err := unstructured.NestedString(role.(map[string]any), network...); err != nil || job != js.GetName() {
			t.Errorf("got the network of job %q, %v, want %q", job, err, js.GetName())
		}
		unstructured.RemoveNestedField(role.(map[string]any), network...)
	}
	if err := unstructured.SetNestedSlice(js.Object, roles, "spec", "replicatedJobs"); err != nil {
		t.Fatal(err)
	}
}
