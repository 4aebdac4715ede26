package kube

import (
	"testing"

	"pgregory.net/rapid"
)

func anyRef() *rapid.Generator[Ref] {
	return rapid.Custom(func(t *rapid.T) Ref {
		return Ref{
			Group:     rapid.SampledFrom([]string{"", "apps", "kueue.x-k8s.io"}).Draw(t, "group"),
			Version:   rapid.SampledFrom([]string{"v1", "v1beta1", "v1beta2"}).Draw(t, "version"),
			Kind:      rapid.SampledFrom([]string{"ConfigMap", "Deployment", "ClusterQueue", "CustomResourceDefinition", "Namespace", "MutatingWebhookConfiguration", "PersistentVolumeClaim"}).Draw(t, "kind"),
			Namespace: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "namespace"),
			Name:      rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name"),
		}
	})
}

// The inventory that is written before an application lists all old and new
// objects, so that an interruption loses none.
func TestUnionListsEverythingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := rapid.SliceOf(anyRef()).Draw(t, "old")
		next := rapid.SliceOfDistinct(anyRef(), Ref.key).Draw(t, "new")
		got := union(old, next)
		count := map[Ref]int{}
		for _, r := range got {
			count[r.key()]++
		}
		for _, r := range append(old, next...) {
			if count[r.key()] != 1 {
				t.Fatalf("%s is listed %d times", r, count[r.key()])
			}
		}
		for i, r := range next {
			if got[i] != r {
				t.Fatalf("index %d lists %v, want the applied version %v", i, got[i], r)
			}
		}
	})
}

func keys(refs []Ref) map[Ref]bool {
	set := map[Ref]bool{}
	for _, r := range refs {
		set[r.key()] = true
	}
	return set
}

func TestMinusKeepsWantedObjects(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old := rapid.SliceOf(anyRef()).Draw(t, "old")
		next := rapid.SliceOf(anyRef()).Draw(t, "new")
		unwanted := keys(minus(old, next))
		wanted := keys(next)
		for _, r := range old {
			if unwanted[r.key()] == wanted[r.key()] {
				t.Fatalf("%s: wanted %v, pruned %v", r, wanted[r.key()], unwanted[r.key()])
			}
		}
	})
}

func TestDeletionOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sorted := inDeletionOrder(rapid.SliceOf(anyRef()).Draw(t, "refs"))
		rank := map[string]int{"ClusterQueue": 0, "MutatingWebhookConfiguration": 1, "Deployment": 2, "ConfigMap": 3, "PersistentVolumeClaim": 3, "Namespace": 4, "CustomResourceDefinition": 5}
		for i := 1; i < len(sorted); i++ {
			a, b := sorted[i-1], sorted[i]
			if a.Group != "" && a.Group != "apps" && a.Kind != "ClusterQueue" || b.Group != "" && b.Group != "apps" && b.Kind != "ClusterQueue" {
				continue // kinds in groups that do not have them
			}
			if (a.Kind == "ClusterQueue") != (a.Group == "kueue.x-k8s.io") || (b.Kind == "ClusterQueue") != (b.Group == "kueue.x-k8s.io") {
				continue
			}
			if rank[a.Kind] > rank[b.Kind] {
				t.Fatalf("%s is deleted before %s", a, b)
			}
		}
	})
}

func TestIsBuiltin(t *testing.T) {
	t.Parallel()
	for _, group := range []string{
		"", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io",
		"apps", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch",
		"certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
		"flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io",
		"node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io",
		"scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
	} {
		if !isBuiltin(group) {
			t.Errorf("group %q is not built in", group)
		}
	}
	for _, group := range []string{"kueue.x-k8s.io", "jobset.x-k8s.io", "gateway.networking.k8s.io", "monitoring.coreos.com", "test.pai.dev"} {
		if isBuiltin(group) {
			t.Errorf("group %q is built in", group)
		}
	}
}
