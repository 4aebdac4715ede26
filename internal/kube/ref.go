package kube

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// Ref names one object of the API.
type Ref struct {
	Group     string `json:"group,omitempty"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// RefOf names an object.
func RefOf(obj *unstructured.Unstructured) Ref {
	gvk := obj.GroupVersionKind()
	return Ref{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// GroupKind is the object's kind without its version.
func (r Ref) GroupKind() schema.GroupKind { return schema.GroupKind{Group: r.Group, Kind: r.Kind} }

// String is the object in messages: "Deployment pai-system/kueue".
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// key identifies the object, whatever its version.
func (r Ref) key() Ref {
	r.Version = ""
	return r
}

// Decode reads the objects in a stream of YAML or JSON documents. It skips empty
// documents and returns the items of lists.
func Decode(data []byte) ([]*unstructured.Unstructured, error) {
	reader := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	var objs []*unstructured.Unstructured
	for n := 1; ; n++ {
		var document runtime.RawExtension
		err := reader.Decode(&document)
		if errors.Is(err, io.EOF) {
			return objs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decode document %d: %w", n, err)
		}
		if len(document.Raw) == 0 {
			continue // comments only
		}
		// This Unmarshal keeps integers, as the API does.
		var content map[string]any
		if err := utiljson.Unmarshal(document.Raw, &content); err != nil {
			return nil, fmt.Errorf("decode document %d: %w", n, err)
		}
		if len(content) == 0 {
			continue
		}
		obj := &unstructured.Unstructured{Object: content}
		if obj.IsList() {
			err := obj.EachListItem(func(item runtime.Object) error {
				objs = append(objs, item.(*unstructured.Unstructured))
				return nil
			})
			if err != nil {
				return nil, fmt.Errorf("decode the list in document %d: %w", n, err)
			}
			continue
		}
		if obj.GetAPIVersion() == "" || obj.GetKind() == "" || obj.GetName() == "" {
			return nil, fmt.Errorf("decode document %d: apiVersion, kind and metadata.name are required, found %q, %q, %q",
				n, obj.GetAPIVersion(), obj.GetKind(), obj.GetName())
		}
		objs = append(objs, obj)
	}
}

// Hash is the same for the same objects in the same order, in any format.
func Hash(objs []*unstructured.Unstructured) (string, error) {
	sum := sha256.New()
	for _, obj := range objs {
		data, err := json.Marshal(obj.Object) // map keys come out sorted
		if err != nil {
			return "", fmt.Errorf("hash %s: %w", RefOf(obj), err)
		}
		sum.Write(data)
		sum.Write([]byte{'\n'})
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func refs(objs []*unstructured.Unstructured) []Ref {
	out := make([]Ref, len(objs))
	for i, o := range objs {
		out[i] = RefOf(o)
	}
	return out
}

func names(refs []Ref) string {
	words := make([]string, len(refs))
	for i, r := range refs {
		words[i] = r.String()
	}
	return strings.Join(words, ", ")
}
