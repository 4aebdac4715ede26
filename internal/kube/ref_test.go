package kube

import (
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	const stream = `
# a comment
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: ns}
---
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: ns}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns}}
`
	objs, err := Decode([]byte(stream))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(refs(objs)), "ConfigMap ns/a, Namespace ns, Deployment ns/d"; got != want {
		t.Errorf("decoded %s, want %s", got, want)
	}
	if got, want := names(refs(inOrder(objs))), "Namespace ns, ConfigMap ns/a, Deployment ns/d"; got != want {
		t.Errorf("applied in the order %s, want %s", got, want)
	}
}

func TestDecodeNamesTheBadDocument(t *testing.T) {
	for _, bad := range []string{"kind: ConfigMap\nmetadata: {name: a}", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}", "a: [", "just words"} {
		_, err := Decode([]byte("apiVersion: v1\nkind: Namespace\nmetadata: {name: ok}\n---\n" + bad))
		if err == nil || !strings.Contains(err.Error(), "document 2") {
			t.Errorf("decode %q: %v, want an error that names document 2", bad, err)
		}
	}
}

func TestHashIgnoresFormatting(t *testing.T) {
	hash := func(s string) string {
		objs, err := Decode([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		h, err := Hash(objs)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	a := hash("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1', z: '2'}")
	if b := hash(`{"data":{"z":"2","x":"1"},"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}`); a != b {
		t.Error("the same object in another format has another hash")
	}
	if c := hash("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1', z: '3'}"); a == c {
		t.Error("another object has the same hash")
	}
}
