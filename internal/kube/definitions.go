package kube

import (
	"context"
	"fmt"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/pai"
)

var definitionResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func (c *Client) changeDefinition(ctx context.Context, name string, change func(*unstructured.Unstructured) error) error {
	resource := c.dynamic.Resource(definitionResource)
	return c.retry(ctx, "change "+definitionKind+" "+name, func(ctx context.Context) error {
		live, err := resource.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := change(live); err != nil {
			return err
		}
		_, err = resource.Update(ctx, live, metav1.UpdateOptions{FieldManager: pai.FieldManager})
		return err
	})
}

// definitions returns the definitions of the cluster by name.
func (c *Client) definitions(ctx context.Context) (map[string]*apiextensions.CustomResourceDefinition, error) {
	var list *unstructured.UnstructuredList
	err := c.retry(ctx, "list the custom resource definitions", func(ctx context.Context) (err error) {
		list, err = c.dynamic.Resource(definitionResource).List(ctx, metav1.ListOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	all := map[string]*apiextensions.CustomResourceDefinition{}
	for i := range list.Items {
		d, err := typedDefinition(&list.Items[i])
		if err != nil {
			return nil, err
		}
		all[d.Name] = d
	}
	return all, nil
}

func definitionsIn(objs []*unstructured.Unstructured) ([]*apiextensions.CustomResourceDefinition, error) {
	var all []*apiextensions.CustomResourceDefinition
	for _, o := range objs {
		if o.GetKind() != definitionKind {
			continue
		}
		d, err := typedDefinition(o)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func typedDefinition(o *unstructured.Unstructured) (*apiextensions.CustomResourceDefinition, error) {
	var d apiextensions.CustomResourceDefinition
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
		return nil, fmt.Errorf("read the definition %s: %w", o.GetName(), err)
	}
	return &d, nil
}
