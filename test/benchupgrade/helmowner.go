package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"pai.dev/pai/internal/pai"
)

// own makes helm the only owner of the fields of objects that it has applied. Fields that PAI
// owns as well would outlive a chart that no longer has them, such as a probe of another kind.
func (h helmClient) own(ctx context.Context, objs []*unstructured.Unstructured) error {
	config, err := clientcmd.BuildConfigFromFlags("", h.kubeconfig)
	if err != nil {
		return fmt.Errorf("read the kubeconfig of helm: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	for _, obj := range objs {
		kind := obj.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return fmt.Errorf("find the API of %s: %w", kind, err)
		}
		var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			resource = client.Resource(mapping.Resource).Namespace(cmp.Or(obj.GetNamespace(), pai.SystemNamespace))
		}
		if err := ownOne(ctx, resource, obj.GetName()); err != nil {
			return fmt.Errorf("make helm the owner of %s %s: %w", kind.Kind, obj.GetName(), err)
		}
	}
	return nil
}

func ownOne(ctx context.Context, resource dynamic.ResourceInterface, name string) error {
	now, err := resource.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	owned := ofHelm(now.GetManagedFields())
	if !slices.ContainsFunc(owned, func(f metav1.ManagedFieldsEntry) bool { return f.Manager == "helm" }) {
		return errors.New("helm has not applied it")
	}
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/metadata/managedFields", "value": owned}})
	if err != nil {
		return err
	}
	_, err = resource.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}

// ofHelm are the fields that helm owns, and those of controllers, such as the status.
func ofHelm(fields []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	return slices.DeleteFunc(slices.Clone(fields), func(f metav1.ManagedFieldsEntry) bool {
		return f.Subresource == "" && (f.Manager != "helm" || f.Operation != metav1.ManagedFieldsOperationApply)
	})
}
