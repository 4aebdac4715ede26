package service

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

const (
	managedBy         = "pai"
	labelManagedBy    = "app.kubernetes.io/managed-by"
	labelService      = "pai.dev/service"
	annotationRelease = "pai.dev/release"
)

// adjust removes the objects and webhooks that the service leaves out, and
// prepares the others for server-side apply.
func (s Service) adjust(objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	kept := map[string]bool{}
	used := map[string]bool{}
	var out []*unstructured.Unstructured
	for _, obj := range objs {
		if pattern := s.omits(obj); pattern != "" {
			used[pattern] = true
			continue
		}
		if err := prepareForApply(obj); err != nil {
			return nil, err
		}
		if len(s.KeepWebhooks) > 0 && isWebhookConfiguration(obj) {
			left, err := keepWebhooks(obj, s.KeepWebhooks, kept)
			if err != nil {
				return nil, err
			}
			if left == 0 {
				continue
			}
		}
		out = append(out, obj)
	}
	for _, pattern := range s.Omit {
		if !used[pattern] {
			return nil, fmt.Errorf("omit: the chart has no %s", pattern)
		}
	}
	for _, name := range s.KeepWebhooks {
		if !kept[name] {
			return nil, fmt.Errorf("keepWebhooks: the chart has no webhook %q", name)
		}
	}
	return out, nil
}

// omits returns the pattern that leaves an object out; empty for none.
func (s Service) omits(obj *unstructured.Unstructured) string {
	for _, pattern := range s.Omit {
		kind, name, _ := strings.Cut(pattern, "/")
		matches, err := path.Match(name, obj.GetName())
		if kind == obj.GetKind() && matches && err == nil {
			return pattern
		}
	}
	return ""
}

func isWebhookConfiguration(obj *unstructured.Unstructured) bool {
	return obj.GetKind() == "MutatingWebhookConfiguration" || obj.GetKind() == "ValidatingWebhookConfiguration"
}

func keepWebhooks(obj *unstructured.Unstructured, names []string, kept map[string]bool) (int, error) {
	webhooks, _, err := unstructured.NestedSlice(obj.Object, "webhooks")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", kube.RefOf(obj), err)
	}
	var left []any
	for _, w := range webhooks {
		webhook, _ := w.(map[string]any)
		name, _ := webhook["name"].(string)
		if slices.Contains(names, name) {
			kept[name] = true
			left = append(left, w)
		}
	}
	return len(left), unstructured.SetNestedSlice(obj.Object, left, "webhooks")
}

// prepareForApply corrects what is right for creating an object once, and wrong
// for applying it repeatedly:
//   - a definition without a conversion keeps the conversion of an older
//     release;
//   - the conversion of a kind with one version is never called, and its CA
//     bundle is never filled in;
//   - an empty value of a Secret overwrites the certificate that the program
//     has stored there;
//   - a placeholder for the CA bundle of a webhook overwrites the real one.
func prepareForApply(obj *unstructured.Unstructured) error {
	switch {
	case obj.GetKind() == "CustomResourceDefinition":
		unstructured.RemoveNestedField(obj.Object, "status")
		_, converts, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "conversion")
		versions, _, err := unstructured.NestedSlice(obj.Object, "spec", "versions")
		if err != nil {
			return fmt.Errorf("%s: %w", kube.RefOf(obj), err)
		}
		if !converts || len(versions) < 2 {
			return unstructured.SetNestedMap(obj.Object, map[string]any{"strategy": "None"}, "spec", "conversion")
		}
		unstructured.RemoveNestedField(obj.Object, "spec", "conversion", "webhook", "clientConfig", "caBundle")
	case obj.GetKind() == "Secret" && obj.GroupVersionKind().Group == "":
		for _, field := range []string{"data", "stringData"} {
			values, _, err := unstructured.NestedMap(obj.Object, field)
			if err != nil {
				return fmt.Errorf("%s: %w", kube.RefOf(obj), err)
			}
			for key, value := range values {
				if value == "" || value == nil {
					unstructured.RemoveNestedField(obj.Object, field, key)
				}
			}
			if left, _, _ := unstructured.NestedMap(obj.Object, field); len(left) == 0 {
				unstructured.RemoveNestedField(obj.Object, field)
			}
		}
	case isWebhookConfiguration(obj):
		webhooks, _, err := unstructured.NestedSlice(obj.Object, "webhooks")
		if err != nil {
			return fmt.Errorf("%s: %w", kube.RefOf(obj), err)
		}
		for _, w := range webhooks {
			if webhook, ok := w.(map[string]any); ok {
				unstructured.RemoveNestedField(webhook, "clientConfig", "caBundle")
			}
		}
		return unstructured.SetNestedSlice(obj.Object, webhooks, "webhooks")
	}
	return nil
}

func applyPatches(objs, patches []*unstructured.Unstructured) error {
	for _, patch := range patches {
		i := slices.IndexFunc(objs, func(o *unstructured.Unstructured) bool {
			return o.GroupVersionKind() == patch.GroupVersionKind() && o.GetName() == patch.GetName()
		})
		if i < 0 {
			return fmt.Errorf("%s: the chart has no %s %s", patchesFile, patch.GroupVersionKind(), patch.GetName())
		}
		if err := applyPatch(objs[i], patch); err != nil {
			return fmt.Errorf("%s: %s: %w", patchesFile, kube.RefOf(patch), err)
		}
	}
	return nil
}

func applyPatch(obj, patch *unstructured.Unstructured) error {
	was, err := json.Marshal(obj.Object)
	if err != nil {
		return err
	}
	change, err := json.Marshal(patch.Object)
	if err != nil {
		return err
	}
	var is []byte
	typed, err := scheme.Scheme.New(obj.GroupVersionKind())
	switch {
	case err == nil:
		is, err = strategicpatch.StrategicMergePatch(was, change, typed)
	case runtime.IsNotRegisteredError(err):
		is, err = jsonpatch.MergePatch(was, change)
	}
	if err != nil {
		return err
	}
	objs, err := kube.Decode(is) // keeps whole numbers whole
	if err != nil {
		return err
	}
	obj.Object = objs[0].Object
	return nil
}

// ReleaseOf is the release of the services that an object was last applied by; empty for an
// object of no service.
func ReleaseOf(obj *unstructured.Unstructured) pai.ServicesVersion {
	return pai.ServicesVersion(obj.GetAnnotations()[annotationRelease])
}

// setOwner sets the namespace of every object, and the labels of its service
// and release.
func setOwner(objs []*unstructured.Unstructured, service string, release pai.ServicesVersion) {
	clusterWide := clusterKinds(objs)
	for _, obj := range objs {
		if clusterWide[obj.GroupVersionKind().GroupKind()] {
			obj.SetNamespace("") // charts often set one
		} else if obj.GetNamespace() == "" {
			obj.SetNamespace(pai.SystemNamespace)
		}
		obj.SetLabels(with(obj.GetLabels(), labelManagedBy, managedBy, labelService, service))
		obj.SetAnnotations(with(obj.GetAnnotations(), annotationRelease, string(release)))
	}
}

func with(m map[string]string, pairs ...string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}
