package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/poll"
)

// deleteTimeout is the time for pods to end and for controllers to run their
// finalizers.
const deleteTimeout = 2 * time.Minute

// errOtherInventory marks an object that now belongs to another inventory.
var errOtherInventory = errors.New("belongs to another inventory")

// prune deletes unwanted objects and returns those that the inventory must
// still list, because they are never pruned.
func (c *Client) prune(ctx context.Context, unwanted []Ref, inventory string, changes *ChangeSet) ([]Ref, error) {
	var kept, deleted []Ref
	for _, r := range inDeletionOrder(unwanted) {
		obj, err := c.get(ctx, r)
		if err != nil {
			return kept, err
		}
		if obj == nil {
			continue
		}
		if neverPruned(r) || obj.GetAnnotations()[AnnotationHolds] != "" {
			kept = append(kept, r)
			*changes = append(*changes, Change{Object: r, Action: Kept})
			continue
		}
		was, err := c.deleteOwned(ctx, r, inventory)
		if err != nil {
			return kept, err
		}
		if was {
			deleted = append(deleted, r)
			*changes = append(*changes, Change{Object: r, Action: Deleted})
		}
	}
	return kept, c.waitDeleted(ctx, deleted)
}

// DeleteInventory deletes the objects of an inventory, dependents first, and
// waits until they no longer exist. Objects for which keep is true stay in the
// cluster and in the inventory, as do namespaces, and definitions of kinds that
// have objects. An empty inventory is removed. keep can be nil; it is called
// with the object as it is in the cluster.
func (c *Client) DeleteInventory(ctx context.Context, inventory string, keep func(obj *unstructured.Unstructured) bool) error {
	inv, err := c.Inventory(ctx, inventory)
	if err != nil || inv == nil {
		return err
	}
	var kept, deleting []Ref
	part := -1
	for _, r := range inDeletionOrder(inv.Objects) {
		// Custom resources end while their controllers still run. Definitions are
		// deleted after everything else.
		if next := deletionPart(r); next != part {
			part = next
			if err := c.waitDeleted(ctx, deleting); err != nil {
				return err
			}
			deleting = nil
		}
		outcome, err := c.deletion(ctx, r, inventory, keep)
		if err != nil {
			return err
		}
		switch outcome {
		case keeps:
			kept = append(kept, r)
		case deletes:
			if _, err := c.deleteOwned(ctx, r, inventory); err != nil {
				return err
			}
			deleting = append(deleting, r)
		case skips:
		}
	}
	if err := c.waitDeleted(ctx, deleting); err != nil {
		return err
	}
	if len(kept) == 0 {
		return c.removeInventory(ctx, inventory)
	}
	return c.writeInventory(ctx, &Inventory{Name: inventory, State: InventoryStopped, Objects: kept, Record: inv.Record})
}

// Deletable lists the objects that DeleteInventory would delete.
func (c *Client) Deletable(ctx context.Context, inventory string, keep func(obj *unstructured.Unstructured) bool) ([]Ref, error) {
	inv, err := c.Inventory(ctx, inventory)
	if err != nil || inv == nil {
		return nil, err
	}
	var deletable []Ref
	for _, r := range inDeletionOrder(inv.Objects) {
		outcome, err := c.deletion(ctx, r, inventory, keep)
		if err != nil {
			return nil, err
		}
		if outcome == deletes {
			deletable = append(deletable, r)
		}
	}
	return deletable, nil
}

// A deletion skips an object that does not exist or belongs to another
// inventory.
type deletionOutcome int

const (
	skips deletionOutcome = iota
	deletes
	keeps
)

func (c *Client) deletion(ctx context.Context, r Ref, inventory string, keep func(*unstructured.Unstructured) bool) (deletionOutcome, error) {
	obj, err := c.get(ctx, r)
	switch {
	case err != nil:
		return skips, err
	case obj == nil || obj.GetAnnotations()[AnnotationInventory] != inventory:
		return skips, nil
	case r.Kind == "Namespace" || (keep != nil && keep(obj)):
		return keeps, nil
	case r.Kind != definitionKind:
		return deletes, nil
	}
	inUse, err := c.definitionInUse(ctx, obj)
	if err != nil || inUse {
		return keeps, err
	}
	return deletes, nil
}

// definitionInUse reports whether objects of a defined kind exist. If it cannot
// read them, they count as existing.
func (c *Client) definitionInUse(ctx context.Context, definition *unstructured.Unstructured) (bool, error) {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if stored, _ := version["storage"].(bool); !stored {
			continue // the stored version needs no conversion
		}
		name, _ := version["name"].(string)
		inUse := true
		err := c.retry(ctx, "list objects of "+definition.GetName(), func(ctx context.Context) error {
			gvr := schema.GroupVersionResource{Group: group, Version: name, Resource: plural}
			list, err := c.dynamic.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
			if err == nil {
				inUse = len(list.Items) > 0
			}
			return err
		})
		return inUse, err
	}
	return true, nil
}

// get reads an object. It is nil if the object or its kind does not exist.
func (c *Client) get(ctx context.Context, r Ref) (obj *unstructured.Unstructured, err error) {
	err = c.retry(ctx, "read "+r.String(), func(ctx context.Context) (err error) {
		obj, err = c.getOnce(ctx, r)
		return err
	})
	return obj, err
}

func (c *Client) getOnce(ctx context.Context, r Ref) (*unstructured.Unstructured, error) {
	resource, err := c.resource(r)
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	obj, err := resource.Get(ctx, r.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return obj, err
}

// deleteOwned deletes an object that has the inventory's mark; not one that was
// made under its name since.
func (c *Client) deleteOwned(ctx context.Context, r Ref, inventory string) (deleted bool, err error) {
	err = c.retry(ctx, "delete "+r.String(), func(ctx context.Context) error {
		obj, err := c.getOnce(ctx, r)
		if err != nil || obj == nil {
			return err
		}
		if obj.GetAnnotations()[AnnotationInventory] != inventory {
			return errOtherInventory
		}
		resource, err := c.resource(r)
		if err != nil {
			return err
		}
		uid, policy := obj.GetUID(), metav1.DeletePropagationBackground
		if r.Group == "apps" || r.Group == "batch" {
			policy = metav1.DeletePropagationForeground // the object outlives its pods
		}
		err = resource.Delete(ctx, r.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &policy,
		})
		deleted = deleted || err == nil
		return ignoreNotFound(err)
	})
	if errors.Is(err, errOtherInventory) {
		return false, nil
	}
	return deleted, err
}

// waitDeleted waits until objects that are being deleted no longer exist.
func (c *Client) waitDeleted(ctx context.Context, refs []Ref) error {
	wait := poll.Wait{For: "the end of deleted objects", Timeout: deleteTimeout, Every: pollEvery}
	return wait.Until(ctx, func(limited context.Context) (bool, error) {
		var existing []Ref
		for _, r := range refs {
			obj, err := c.get(limited, r)
			if err != nil && limited.Err() == nil {
				return false, poll.Final(err)
			}
			if err != nil || obj != nil && obj.GetDeletionTimestamp() != nil {
				existing = append(existing, r)
			}
		}
		if refs = existing; len(refs) > 0 {
			return false, fmt.Errorf("still existing: %s", names(refs))
		}
		return true, nil
	})
}
