package kube

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// renameManagedVersions gives the entries of the managed fields that name a version
// which the definition lacks its storage version, and reports whether there were
// any. The owners keep their fields: a program that clears a field by not applying
// it any more must still own it.
func renameManagedVersions(o *unstructured.Unstructured, d *apiextensions.CustomResourceDefinition) (bool, error) {
	var out []metav1.ManagedFieldsEntry
	renamed := false
	for _, e := range o.GetManagedFields() {
		version, inGroup := strings.CutPrefix(e.APIVersion, d.Spec.Group+"/")
		if inGroup && !serves(d, version) {
			e.APIVersion = d.Spec.Group + "/" + storageOf(d)
			renamed = true
		}
		same := func(other metav1.ManagedFieldsEntry) bool { return sameOwner(e, other) }
		i := slices.IndexFunc(out, same)
		if i < 0 {
			out = append(out, e)
			continue
		}
		union, err := unionOf(out[i], e)
		if err != nil {
			return false, fmt.Errorf("managed fields of %s: %w", RefOf(o), err)
		}
		out[i] = union
	}
	if renamed {
		o.SetManagedFields(out)
	}
	return renamed, nil
}

func serves(d *apiextensions.CustomResourceDefinition, version string) bool {
	return slices.ContainsFunc(d.Spec.Versions, func(v apiextensions.CustomResourceDefinitionVersion) bool { return v.Name == version && v.Served })
}

// sameOwner reports whether the API server keeps one entry of the two. The time
// distinguishes the entries of updates only.
func sameOwner(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.Subresource == b.Subresource && a.APIVersion == b.APIVersion &&
		(a.Operation == metav1.ManagedFieldsOperationApply || a.Time.Equal(b.Time))
}

// unionOf is the entry with the fields of both.
func unionOf(a, b metav1.ManagedFieldsEntry) (metav1.ManagedFieldsEntry, error) {
	fields := &fieldpath.Set{}
	for _, e := range []metav1.ManagedFieldsEntry{a, b} {
		if e.FieldsV1 == nil {
			continue
		}
		var set fieldpath.Set
		if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
			return a, err
		}
		fields = fields.Union(&set)
	}
	raw, err := fields.ToJSON()
	if err != nil {
		return a, err
	}
	a.FieldsV1 = &metav1.FieldsV1{}
	a.FieldsV1.SetRawBytes(raw)
	if a.Time.Before(b.Time) {
		a.Time = b.Time
	}
	return a, nil
}
