package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// deleteTimeout is how long objects may take to go: pods have their time to
// end, controllers their finalizers.
const deleteTimeout = 2 * time.Minute

// errNotOurs marks an object that another inventory took over.
var errNotOurs = errors.New("it belongs to another inventory")

func isNoMatch(err error) bool { return meta.IsNoMatchError(err) }

// prune deletes what is no longer wanted and returns what the inventory must
// go on listing: objects of kinds that are never pruned.
func (c *Client) prune(ctx context.Context, unwanted []Ref, inventory string, changes *ChangeSet) ([]Ref, error) {
	var left, deleted []Ref
	for _, r := range inDeletionOrder(unwanted) {
		obj, err := c.get(ctx, r)
		if err != nil {
			return left, err
		}
		if obj == nil {
			continue
		}
		if neverPruned(r) || obj.GetAnnotations()[AnnotationHolds] != "" {
			left = append(left, r)
			*changes = append(*changes, Change{Object: r, Action: Kept})
			continue
		}
		was, err := c.deleteOwned(ctx, r, inventory)
		if err != nil {
			return left, err
		}
		if was {
			deleted = append(deleted, r)
			*changes = append(*changes, Change{Object: r, Action: Deleted})
		}
	}
	return left, c.waitGone(ctx, deleted)
}

// DeleteInventory deletes the objects that an inventory lists, in an order in
// which nothing misses another, and waits until they are gone. Objects for
// which keep is true stay and stay listed, as do namespaces always and
// definitions of kinds of which objects exist. An inventory of which nothing
// is left is removed. keep may be nil, and gets the object as it is in the
// cluster.
func (c *Client) DeleteInventory(ctx context.Context, inventory string, keep func(obj *unstructured.Unstructured) bool) error {
	inv, err := c.Inventory(ctx, inventory)
	if err != nil || inv == nil {
		return err
	}
	var left, going []Ref
	part := -1
	for _, r := range inDeletionOrder(inv.Objects) {
		// Custom resources end while their controllers still run, and a
		// definition goes when all else is gone.
		if next := deletionPart(r); next != part {
			part = next
			if err := c.waitGone(ctx, going); err != nil {
				return err
			}
			going = nil
		}
		fate, err := c.fate(ctx, r, inventory, keep)
		if err != nil {
			return err
		}
		switch fate {
		case stays:
			left = append(left, r)
		case goes:
			if _, err := c.deleteOwned(ctx, r, inventory); err != nil {
				return err
			}
			going = append(going, r)
		}
	}
	if err := c.waitGone(ctx, going); err != nil {
		return err
	}
	if len(left) == 0 {
		return c.removeInventory(ctx, inventory)
	}
	return c.writeInventory(ctx, &Inventory{Name: inventory, State: InventoryStopped, Objects: left, Record: inv.Record})
}

// Deletable lists what DeleteInventory would delete.
func (c *Client) Deletable(ctx context.Context, inventory string, keep func(obj *unstructured.Unstructured) bool) ([]Ref, error) {
	inv, err := c.Inventory(ctx, inventory)
	if err != nil || inv == nil {
		return nil, err
	}
	var going []Ref
	for _, r := range inDeletionOrder(inv.Objects) {
		fate, err := c.fate(ctx, r, inventory, keep)
		if err != nil {
			return nil, err
		}
		if fate == goes {
			going = append(going, r)
		}
	}
	return going, nil
}

// What a deletion does with an object: gone is one that is not there, or that
// another inventory has taken over.
type fate int

const (
	gone fate = iota
	goes
	stays
)

func (c *Client) fate(ctx context.Context, r Ref, inventory string, keep func(*unstructured.Unstructured) bool) (fate, error) {
	obj, err := c.get(ctx, r)
	if err != nil {
		return gone, err
	}
	if obj == nil || obj.GetAnnotations()[AnnotationInventory] != inventory {
		return gone, nil
	}
	if r.Kind == "Namespace" || (keep != nil && keep(obj)) {
		return stays, nil
	}
	if r.Kind != definitionKind {
		return goes, nil
	}
	inUse, err := c.definitionInUse(ctx, obj)
	if err != nil {
		return gone, err
	}
	if inUse {
		return stays, nil
	}
	return goes, nil
}

// definitionInUse reports whether any object of a defined kind exists. One
// that cannot be read counts as existing.
func (c *Client) definitionInUse(ctx context.Context, definition *unstructured.Unstructured) (bool, error) {
	group, _, _ := unstructured.NestedString(definition.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(definition.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if stored, _ := version["storage"].(bool); !stored {
			continue // the stored version needs no conversion to be read
		}
		name, _ := version["name"].(string)
		inUse := true
		err := c.retry(ctx, "look for objects of "+definition.GetName(), func(ctx context.Context) error {
			gvr := schemaResource(group, name, plural)
			list, err := c.dynamic.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
			if err != nil {
				return err
			}
			inUse = len(list.Items) > 0
			return nil
		})
		return inUse, err
	}
	return true, nil
}

// get reads an object; nil when it or its kind is not there.
func (c *Client) get(ctx context.Context, r Ref) (*unstructured.Unstructured, error) {
	var obj *unstructured.Unstructured
	err := c.retry(ctx, "read "+r.String(), func(ctx context.Context) error {
		var err error
		obj, err = c.getOnce(ctx, r)
		return err
	})
	return obj, err
}

func (c *Client) getOnce(ctx context.Context, r Ref) (*unstructured.Unstructured, error) {
	resource, err := c.resource(r)
	if isNoMatch(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	obj, err := resource.Get(ctx, r.Name, metav1.GetOptions{})
	if isNotFound(err) {
		return nil, nil
	}
	return obj, err
}

// deleteOwned deletes an object if the inventory's mark is on it; exactly the
// object that carried the mark, not one made under its name since.
func (c *Client) deleteOwned(ctx context.Context, r Ref, inventory string) (deleted bool, err error) {
	err = c.retry(ctx, "delete "+r.String(), func(ctx context.Context) error {
		obj, err := c.getOnce(ctx, r)
		if err != nil || obj == nil {
			return err
		}
		if obj.GetAnnotations()[AnnotationInventory] != inventory {
			return errNotOurs
		}
		resource, err := c.resource(r)
		if err != nil {
			return err
		}
		uid, policy := obj.GetUID(), metav1.DeletePropagationBackground
		if r.Group == "apps" || r.Group == "batch" {
			policy = metav1.DeletePropagationForeground // gone means that its pods are gone
		}
		err = resource.Delete(ctx, r.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &policy,
		})
		if isNotFound(err) {
			return nil
		}
		deleted = err == nil
		return err
	})
	if errors.Is(err, errNotOurs) {
		return false, nil
	}
	return deleted, err
}

func (c *Client) waitGone(ctx context.Context, refs []Ref) error {
	if len(refs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	left := refs
	for {
		var still []Ref
		for _, r := range left {
			obj, err := c.get(ctx, r)
			if err != nil {
				return err
			}
			if obj != nil && obj.GetDeletionTimestamp() != nil {
				still = append(still, r)
			}
		}
		if len(still) == 0 {
			return nil
		}
		left = still
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until deleted objects are gone: %w; still there: %s", context.Cause(ctx), names(left))
		case <-time.After(pollEvery):
		}
	}
}
