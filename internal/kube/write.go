package kube

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/pai"
)

// Create makes an object that must not exist yet. It asks once: after an
// attempt whose answer was lost nobody can tell one's own object from another's,
// so the caller decides. The error is the API's (apierrors.IsAlreadyExists).
func (c *Client) Create(ctx context.Context, obj *unstructured.Unstructured) error {
	resource, err := c.resource(RefOf(obj))
	if err != nil {
		return err
	}
	_, err = resource.Create(ctx, obj, metav1.CreateOptions{FieldManager: pai.FieldManager})
	return err
}

// Patch changes parts of an object with a JSON merge patch, which is repeated
// while the API is away: the result is the same however often it arrives.
func (c *Client) Patch(ctx context.Context, r Ref, mergePatch []byte) error {
	return c.retry(ctx, "patch "+r.String(), func(ctx context.Context) error {
		resource, err := c.resource(r)
		if err != nil {
			return err
		}
		_, err = resource.Patch(ctx, r.Name, types.MergePatchType, mergePatch, metav1.PatchOptions{FieldManager: pai.FieldManager})
		return err
	})
}

// PatchUnchanged is Patch for a change that was made from what was read: mergePatch
// carries the resource version of that. Where somebody wrote since, this
// client with an answer that was lost included, the error is the API's
// (apierrors.IsConflict) at once, and the caller reads again.
func (c *Client) PatchUnchanged(ctx context.Context, r Ref, mergePatch []byte) error {
	var conflict error
	err := c.retry(ctx, "patch "+r.String(), func(ctx context.Context) error {
		resource, err := c.resource(r)
		if err != nil {
			return err
		}
		_, err = resource.Patch(ctx, r.Name, types.MergePatchType, mergePatch, metav1.PatchOptions{FieldManager: pai.FieldManager})
		if apierrors.IsConflict(err) {
			conflict = err
			return nil
		}
		return err
	})
	return errors.Join(err, conflict)
}

// Delete deletes one object, if it still is the one with that UID; one that is
// gone is no error.
func (c *Client) Delete(ctx context.Context, r Ref, uid types.UID) error {
	return c.retry(ctx, "delete "+r.String(), func(ctx context.Context) error {
		resource, err := c.resource(r)
		if err != nil {
			return err
		}
		err = resource.Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if isNotFound(err) {
			return nil
		}
		return err
	})
}
