//go:build e2e

package kube_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/kubetest"
)

// tools is a definition with versions in the form "v1 v2*": the one with the star is stored.
func tools(versions string) string {
	var list strings.Builder
	for _, v := range strings.Fields(versions) {
		name, stored := strings.CutSuffix(v, "*")
		fmt.Fprintf(&list, "  - {name: %s, served: true, storage: %t, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}\n", name, stored)
	}
	return `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tools.test.pai.dev}
spec:
  group: test.pai.dev
  names: {kind: Tool, listKind: ToolList, plural: tools, singular: tool}
  scope: Namespaced
  versions:
` + list.String()
}

// Objects of a version that a definition lacks are written again first: the API server
// would refuse the definition, and could not read them afterwards.
func storedVersionsAreRewritten(t *testing.T, cluster *kubetest.Cluster) {
	c := cluster.Client
	create := func(version, name, spec string) {
		t.Helper()
		apply(t, c, fmt.Sprintf("{apiVersion: test.pai.dev/%s, kind: Tool, metadata: {name: %s, namespace: default}, spec: %s}", version, name, spec), kube.ApplyOptions{})
	}
	apply(t, c, tools("v1*"), kube.ApplyOptions{})
	create("v1", "older", "{made: first}")
	apply(t, c, tools("v1 v2*"), kube.ApplyOptions{})
	for i := range 3 {
		create("v2", fmt.Sprintf("newer-%d", i), "{made: second, extra: 1}")
	}
	before := readTools(t, c, "v1")

	back := decode(t, tools("v1*"))
	if _, err := c.Apply(t.Context(), decode(t, tools("v3*")), kube.ApplyOptions{}); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(fmt.Sprint(err), "stored as v1, v2") {
		t.Errorf("got %v, want a refusal: no version is in both", err)
	}
	if got := storedToolVersions(t, c); !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("after the refusal: got the stored versions %q, want them unchanged", got)
	}
	diff, err := c.Diff(t.Context(), back, kube.ApplyOptions{})
	if err != nil || len(diff) != 1 || diff[0].Note != "first all its objects are written again as v1" {
		t.Errorf("got the changes %+v, %v, want the definition with a note", diff, err)
	}
	interrupted, kill := context.WithCancel(t.Context())
	defer kill()
	killed := c.WithProgress(func(string, ...any) { kill() }) // when the objects are written
	if _, err := killed.Apply(interrupted, back, kube.ApplyOptions{}); err == nil {
		t.Error("got no error from an application that was interrupted")
	}
	if _, err := c.Apply(t.Context(), back, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := storedToolVersions(t, c); !slices.Equal(got, []string{"v1"}) {
		t.Errorf("got the stored versions %q, want v1", got)
	}
	for name, was := range before {
		is, ok := readTools(t, c, "v1")[name]
		if !ok || is.GetUID() != was.GetUID() || is.GetGeneration() != was.GetGeneration() || fmt.Sprint(is.Object["spec"]) != fmt.Sprint(was.Object["spec"]) {
			t.Errorf("%s: was %v, is %v", name, was, is)
		}
	}
	create("v1", "newer-0", "{made: second}")
	if got := fmt.Sprint(readTools(t, c, "v1")["newer-0"].Object["spec"]); got != "map[made:second]" {
		t.Errorf("got %s, want that the owner could still remove its field", got)
	}
}

func readTools(t *testing.T, c *kube.Client, version string) map[string]unstructured.Unstructured {
	t.Helper()
	list, err := c.Dynamic().Resource(schema.GroupVersionResource{Group: "test.pai.dev", Version: version, Resource: "tools"}).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]unstructured.Unstructured{}
	for _, o := range list.Items {
		all[o.GetName()] = o
	}
	return all
}

func storedToolVersions(t *testing.T, c *kube.Client) []string {
	t.Helper()
	d, err := c.Dynamic().Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Get(t.Context(), "tools.test.pai.dev", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedStringSlice(d.Object, "status", "storedVersions")
	return versions
}
