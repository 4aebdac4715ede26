//go:build e2e

package service

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// excused are changes that do not affect stored objects, and why.
var excused = map[string]string{
	"clusterqueues.kueue.x-k8s.io v1beta1 .spec.flavorFungibility.whenCanBorrow": "the queues of PAI set it",
}

// A definition does not change in a way that breaks a stored object: its stored
// versions and their fields stay, and no field of a stored object gets another
// default. A new default re-hashes running jobs: the API server adds defaults to
// what it reads, Kueue compares that with what it admitted, and suspends what
// differs.
func TestDefinitionsKeepStoredObjects(t *testing.T) {
	t.Parallel()
	type hop struct {
		name string
		from int
	}
	for _, h := range []hop{{"kueue", 0}, {"jobset", 0}, {"kueue", 1}, {"jobset", 1}} {
		older, newer := definitions(chartObjects(t, h.name, h.from)), definitions(chartObjects(t, h.name, h.from+1))
		for _, kind := range slices.Sorted(maps.Keys(older)) {
			if newer[kind] == nil {
				continue // it stays as it is in the cluster
			}
			for version, was := range older[kind] {
				is, ok := newer[kind][version]
				if !ok {
					t.Errorf("%s: got no version %s, want it kept", kind, version)
					continue
				}
				compareSchemas(t, kind+" "+version, was, is)
			}
		}
	}
}

// definitions are the schemas of the kinds, by name and version.
func definitions(objs []*unstructured.Unstructured) map[string]map[string]map[string]any {
	out := map[string]map[string]map[string]any{}
	for _, obj := range objs {
		if obj.GetKind() != "CustomResourceDefinition" {
			continue
		}
		out[obj.GetName()] = map[string]map[string]any{}
		versions, _, _ := unstructured.NestedSlice(obj.Object, "spec", "versions")
		for _, v := range versions {
			version := v.(map[string]any)
			schema, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
			out[obj.GetName()][version["name"].(string)] = schema
		}
	}
	return out
}

func compareSchemas(t *testing.T, what string, was, is map[string]any) {
	t.Helper()
	oldFields, newFields := map[string]any{}, map[string]any{}
	fields("", was, oldFields)
	fields("", is, newFields)
	if len(oldFields) == 0 {
		t.Fatalf("%s: got no fields, want some", what)
	}
	for _, path := range slices.Sorted(maps.Keys(oldFields)) {
		value, kept := newFields[path]
		switch {
		case excused[what+" "+path] != "":
		case !kept && !strings.Contains(path, ".status."):
			t.Errorf("%s: got no field %s, want it kept", what, path)
		case kept && !reflect.DeepEqual(oldFields[path], value):
			t.Errorf("%s: %s: got default %v, want %v", what, path, value, oldFields[path])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(newFields)) {
		_, known := oldFields[path]
		_, parentKnown := oldFields[path[:max(0, strings.LastIndexAny(path, ".["))]]
		if newFields[path] != nil && !known && parentKnown {
			t.Errorf("%s: new field %s: got default %v, which stored objects get too; want none", what, path, newFields[path])
		}
	}
}

// fields lists the fields of a schema with their defaults; nil for none.
func fields(path string, schema map[string]any, into map[string]any) {
	into[path] = schema["default"]
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		if p, ok := p.(map[string]any); ok {
			fields(path+"."+name, p, into)
		}
	}
	if items, ok := schema["items"].(map[string]any); ok {
		fields(path+"[", items, into)
	}
}
