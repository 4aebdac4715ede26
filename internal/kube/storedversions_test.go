package kube

import (
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// definitionOf has versions in the form "v1 v2*": the one with the star is stored.
func definitionOf(versions, stored string) *apiextensions.CustomResourceDefinition {
	d := &apiextensions.CustomResourceDefinition{}
	d.Name = "tools.test.pai.dev"
	for _, v := range strings.Fields(versions) {
		name, storage := strings.CutSuffix(v, "*")
		d.Spec.Versions = append(d.Spec.Versions, apiextensions.CustomResourceDefinitionVersion{Name: name, Served: true, Storage: storage})
	}
	d.Status.StoredVersions = strings.Fields(stored)
	return d
}

func TestStorageChangeOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, now, stored, next, want string }{
		{"nothing changes", "v1*", "v1", "v1*", ""},
		{"the next one stores another version and keeps both", "v1beta1 v1beta2*", "v1beta1 v1beta2", "v1beta1* v1beta2", ""},
		{"back over two releases", "v1beta1 v1beta2*", "v1beta1 v1beta2", "v1beta1*", "v1beta1 for v1beta2"},
		{"back after a release that stores the older one again", "v1beta1* v1beta2", "v1beta1 v1beta2", "v1beta1*", "v1beta1 for v1beta2"},
		{"back, and nothing was stored in the newer one", "v1beta1* v1beta2", "v1beta1", "v1beta1*", ""},
		{"forward to a release that drops the older one", "v1beta1 v1beta2*", "v1beta1 v1beta2", "v1beta2*", "v1beta2 for v1beta1"},
		{"the next one stores a version that is unknown now", "v1beta1 v1beta2*", "v1beta1 v1beta2", "v1beta2 v1*", "v1beta2 for v1beta1"},
		{"the newest of both", "v1alpha1* v1beta1 v1", "v1alpha1", "v1 v1beta1 v2*", "v1 for v1alpha1"},
		{"two are dropped", "v1* v2 v3", "v1 v2", "v3*", "v3 for v1, v2"},
		{"nothing in common", "v1beta2*", "v1beta2", "v1beta1*", "refused"},
	} {
		got := ""
		change, err := StorageChangeOf(definitionOf(c.now, c.stored), definitionOf(c.next, ""))
		switch {
		case err != nil:
			got = "refused"
		case change != nil:
			got = change.To + " for " + strings.Join(change.Dropped, ", ")
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
