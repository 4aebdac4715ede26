package kube

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// An owner keeps its fields when the version that it wrote is not served any more.
func TestManagedFieldsKeepTheirOwners(t *testing.T) {
	t.Parallel()
	entry := func(manager string, op metav1.ManagedFieldsOperationType, version, fields string, at int64) metav1.ManagedFieldsEntry {
		when := metav1.NewTime(time.Unix(at, 0).UTC())
		e := metav1.ManagedFieldsEntry{Manager: manager, Operation: op, APIVersion: version, Time: &when, FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{}}
		e.FieldsV1.SetRawBytes([]byte(fields))
		return e
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "test.pai.dev/v1", "kind": "Tool", "metadata": map[string]any{"name": "a"}}}
	o.SetManagedFields([]metav1.ManagedFieldsEntry{
		entry("kueue", "Apply", "test.pai.dev/v1", `{"f:status":{"f:a":{}}}`, 1),
		entry("kueue", "Apply", "test.pai.dev/v2", `{"f:status":{"f:b":{}}}`, 2),
		entry("kueue", "Update", "test.pai.dev/v2", `{"f:spec":{"f:c":{}}}`, 3),
		entry("other", "Update", "v1", `{"f:metadata":{"f:labels":{}}}`, 4),
	})
	d := definitionOf("v1*", "v1")
	d.Spec.Group = "test.pai.dev"
	renamed, err := renameManagedVersions(o, d)
	if err != nil || !renamed {
		t.Fatalf("got %t, %v", renamed, err)
	}
	var got []string
	for _, e := range o.GetManagedFields() {
		got = append(got, strings.Join([]string{e.Manager, string(e.Operation), e.APIVersion, e.FieldsV1.GetRawString()}, " "))
	}
	want := []string{
		`kueue Apply test.pai.dev/v1 {"f:status":{"f:a":{},"f:b":{}}}`,
		`kueue Update test.pai.dev/v1 {"f:spec":{"f:c":{}}}`,
		`other Update v1 {"f:metadata":{"f:labels":{}}}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if again, err := renameManagedVersions(o, d); again || err != nil {
		t.Errorf("a second time: got %t, %v, want nothing to rename", again, err)
	}
}
