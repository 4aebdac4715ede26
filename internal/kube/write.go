package kube

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"pai.dev/pai/internal/pai"
)

// Create makes an object that must not exist yet. It does not retry: after a
// lost answer it cannot distinguish its own object from another one, so the
// caller decides. The error is the API's (apierrors.IsAlreadyExists).
func (c *Client) Create(ctx context.Context, obj *unstructured.Unstructured) error {
	resource, err := c.resource(RefOf(obj))
	if err != nil {
		return err
	}
	_, err = resource.Create(ctx, obj, metav1.CreateOptions{FieldManager: pai.FieldManager})
	return err
}

// Patch changes parts of an object with a JSON merge patch. It retries: the
// result is the same however often the patch arrives.
func (c *Client) Patch(ctx context.Context, r Ref, mergePatch []byte) error {
	return c.retryOn(ctx, "patch", r, func(ctx context.Context, resource dynamic.ResourceInterface) error {
		_, err := resource.Patch(ctx, r.Name, types.MergePatchType, mergePatch, metav1.PatchOptions{FieldManager: pai.FieldManager})
		return err
	})
}

// PatchUnchanged is Patch for a change of an object that was read: mergePatch
// has the resource version. If the object was written since, also by this
// client with a lost answer, the error is the API's (apierrors.IsConflict) at
// once, and the caller reads again.
func (c *Client) PatchUnchanged(ctx context.Context, r Ref, mergePatch []byte) error {
	var conflict error
	err := c.retryOn(ctx, "patch", r, func(ctx context.Context, resource dynamic.ResourceInterface) error {
		_, err := resource.Patch(ctx, r.Name, types.MergePatchType, mergePatch, metav1.PatchOptions{FieldManager: pai.FieldManager})
		if apierrors.IsConflict(err) {
			conflict, err = err, nil
		}
		return err
	})
	return errors.Join(err, conflict)
}

// Delete deletes an object that has the UID. A missing object is not an error.
func (c *Client) Delete(ctx context.Context, r Ref, uid types.UID) error {
	return c.retryOn(ctx, "delete", r, func(ctx context.Context, resource dynamic.ResourceInterface) error {
		return ignoreNotFound(resource.Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}))
	})
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
