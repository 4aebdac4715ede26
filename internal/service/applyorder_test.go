package service

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
)

// Kinds in the order in which they are applied. Objects up to the bindings are applied some at
// a time, later ones one after the other.
var applyOrder = [][]string{{"CustomResourceDefinition"}, {"Namespace"}, {"ResourceQuota"}, {"ServiceAccount", "Secret", "ConfigMap"}, {"ClusterRole", "Role"},
	{"ClusterRoleBinding", "RoleBinding"}, {"Service"}, {"Deployment"}, {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"},
	{"ResourceFlavor", "WorkloadPriorityClass", "ClusterQueue", "LocalQueue"}}

func placeOf(r kube.Ref) int {
	return slices.IndexFunc(applyOrder, func(kinds []string) bool { return slices.Contains(kinds, r.Kind) })
}

// The changes are listed in the order of the application: first what others need, and within
// that as the chart has it. Workloads, webhooks, and queues also reach the API in that order.
func TestObjectsAreAppliedInOrder(t *testing.T) {
	t.Parallel()
	objs := goldenObjects(t, "kueue", "v0.11")
	api, client := newFakeAPI(t, objs)
	changes, err := client.Apply(t.Context(), objs, kube.ApplyOptions{Inventory: "service-kueue"})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(objs)
	slices.SortStableFunc(want, func(a, b *unstructured.Unstructured) int { return placeOf(kube.RefOf(a)) - placeOf(kube.RefOf(b)) })
	if len(changes) != len(want) {
		t.Fatalf("got %d changes of %d objects", len(changes), len(want))
	}
	arrived := api.applied()
	for i, o := range want {
		r := kube.RefOf(o)
		if changes[i].Object != r || changes[i].Action != kube.Created {
			t.Fatalf("change %d is %v, want %s created", i, changes[i], r)
		}
		// The namespace of the platform and the inventory come before.
		if at := arrived[len(arrived)-len(want)-1+i]; placeOf(r) > 5 && at != r.Name {
			t.Errorf("object %d to reach the API is %s, want %s", i, at, r)
		}
	}
}

// After a refused object, none of a later stage is applied, and the changes that were made are
// returned.
func TestNothingIsAppliedAfterARefusedObject(t *testing.T) {
	t.Parallel()
	objs := goldenObjects(t, "kueue", "v0.11")
	api, client := newFakeAPI(t, objs)
	api.refuse = "clusterroles"
	changes, err := client.Apply(t.Context(), objs, kube.ApplyOptions{Inventory: "service-kueue"})
	if err == nil {
		t.Fatal("got no error for a refused object")
	}
	definitions := 0
	for _, c := range changes {
		if c.Object.Kind == "CustomResourceDefinition" {
			definitions++
		}
		if placeOf(c.Object) > 4 {
			t.Errorf("applied after a refused role: %s", c.Object)
		}
	}
	if definitions < 10 {
		t.Errorf("got %d definitions in the changes, want all of Kueue", definitions)
	}
	asked, _ := api.requests()
	if refused := asked["patch clusterroles"]; refused < 1 || refused > 4 {
		t.Errorf("%d roles were tried after one was refused, want only those that had started", refused)
	}
}

// Of a stage with more objects than are applied at once, the others are not tried after a refused
// one: of Kueue, these are the definitions.
func TestRestOfAStageIsNotAppliedAfterARefusedObject(t *testing.T) {
	t.Parallel()
	objs := goldenObjects(t, "kueue", "v0.11")
	api, client := newFakeAPI(t, objs)
	api.refuse = "customresourcedefinitions"
	if _, err := client.Apply(t.Context(), objs, kube.ApplyOptions{Inventory: "service-kueue"}); err == nil {
		t.Fatal("got no error for a refused object")
	}
	asked, _ := api.requests()
	if refused := asked["patch customresourcedefinitions"]; refused < 1 || refused > 4 {
		t.Errorf("%d definitions were tried, want only those that had started when one was refused", refused)
	}
}
