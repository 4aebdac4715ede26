package kube

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/pai"
)

// storedPage is how many objects one request lists.
const storedPage = 500

// eachStored writes every object of a kind for which change returns true, and
// returns how many of them that changed. An object that stays as it is is stored
// only if what the API server would store differs from what it has stored, so if the
// version differs.
func (c *Client) eachStored(ctx context.Context, resource schema.GroupVersionResource, change func(*unstructured.Unstructured) (bool, error)) (written int, err error) {
	for next := ""; ; {
		var list *unstructured.UnstructuredList
		err := c.retry(ctx, "list "+resource.GroupResource().String(), func(ctx context.Context) (err error) {
			list, err = c.dynamic.Resource(resource).List(ctx, metav1.ListOptions{Limit: storedPage, Continue: next})
			return err
		})
		if err != nil {
			return written, err
		}
		for i := range list.Items {
			changed, err := c.writeAgain(ctx, resource, &list.Items[i], change)
			if err != nil {
				return written, err
			}
			if changed {
				written++
			}
		}
		if next = list.GetContinue(); next == "" {
			return written, nil
		}
	}
}

// writeAgain writes an object as change leaves it, and reports whether that changed
// what is stored.
func (c *Client) writeAgain(ctx context.Context, resource schema.GroupVersionResource, obj *unstructured.Unstructured, change func(*unstructured.Unstructured) (bool, error)) (changed bool, err error) {
	kind := c.dynamic.Resource(resource).Namespace(obj.GetNamespace())
	err = c.retry(ctx, "write "+RefOf(obj).String(), func(ctx context.Context) error {
		if wanted, err := change(obj); err != nil || !wanted {
			return err
		}
		after, err := kind.Update(ctx, obj, metav1.UpdateOptions{FieldManager: pai.FieldManager})
		if apierrors.IsConflict(err) { // another client changed it since
			fresh, getErr := kind.Get(ctx, obj.GetName(), metav1.GetOptions{})
			if apierrors.IsNotFound(getErr) {
				return nil
			}
			if getErr == nil {
				obj = fresh
			}
			return errors.Join(err, getErr)
		}
		if err == nil {
			changed = changed || after.GetResourceVersion() != obj.GetResourceVersion()
		}
		return ignoreNotFound(err)
	})
	return changed, err
}
