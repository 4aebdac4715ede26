package kube

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/pai"
)

// Action is what an application did with an object.
type Action string

// The actions of a ChangeSet. Kept means that an unwanted object stays, because
// its deletion would also delete data or other objects.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Deleted    Action = "deleted"
	Kept       Action = "kept"
)

// Change is the action of an application on one object.
type Change struct {
	Object Ref
	Action Action
	// Restarted is true if the change replaces the pods of a workload.
	Restarted bool
}

// ChangeSet are the changes of an application, in their order.
type ChangeSet []Change

// Count is the number of changes with an action.
func (cs ChangeSet) Count(a Action) int {
	n := 0
	for _, c := range cs {
		if c.Action == a {
			n++
		}
	}
	return n
}

// Changed reports whether the application changed anything.
func (cs ChangeSet) Changed() bool {
	return cs.Count(Created)+cs.Count(Configured)+cs.Count(Deleted) > 0
}

func (cs ChangeSet) String() string {
	return fmt.Sprintf("%d created, %d configured, %d unchanged, %d deleted",
		cs.Count(Created), cs.Count(Configured), cs.Count(Unchanged), cs.Count(Deleted))
}

// ApplyOptions are options of Apply and Diff.
type ApplyOptions struct {
	// Inventory is the name of the inventory that lists the objects. Without it,
	// they are not listed and cannot be pruned.
	Inventory string
	// Record is stored in the inventory after everything is applied and pruned.
	Record map[string]string
	// Prune deletes objects of the inventory that are not in objs.
	Prune bool
}

// establishTimeout is the time for the API server to serve a new kind.
const establishTimeout = time.Minute

// Apply applies objs server-side. It takes ownership of their fields; other
// fields stay as they are. After an interruption, call it again: the inventory
// lists every object before Apply makes the first one. Objects that are stored in a
// version that a definition lacks are first written in another version.
func (c *Client) Apply(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (ChangeSet, error) {
	objs = inOrder(objs)
	rewritten, err := c.rewriteStored(ctx, objs)
	if err != nil {
		return nil, err
	}
	listed, err := c.begin(ctx, objs, opts)
	if err != nil {
		return nil, err
	}
	var changes ChangeSet
	if err := c.applyAll(ctx, objs, opts.Inventory, rewritten, &changes); err != nil || opts.Inventory == "" {
		return changes, err
	}
	left := minus(listed, refs(objs))
	if opts.Prune {
		left, err = c.prune(ctx, left, opts.Inventory, &changes)
		if err != nil {
			return changes, err
		}
	}
	return changes, c.finish(ctx, objs, left, opts)
}

// Prune completes an Apply without pruning: it deletes the objects of the
// inventory that are not in objs, and stores opts.Record. So objects can be
// deleted after their replacements are ready, and accounts after the last pod that has
// them has ended.
func (c *Client) Prune(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) (ChangeSet, error) {
	inv, err := c.Inventory(ctx, opts.Inventory)
	if err != nil {
		return nil, err
	}
	if inv == nil {
		return nil, fmt.Errorf("prune: inventory %s not found", opts.Inventory)
	}
	var changes ChangeSet
	unwanted := minus(inv.Objects, refs(objs))
	if err := c.awaitUnused(ctx, unwanted); err != nil {
		return nil, err
	}
	left, err := c.prune(ctx, unwanted, opts.Inventory, &changes)
	if err != nil {
		return changes, err
	}
	return changes, c.finish(ctx, objs, left, opts)
}

// finish records a complete application.
func (c *Client) finish(ctx context.Context, objs []*unstructured.Unstructured, left []Ref, opts ApplyOptions) error {
	return c.writeInventory(ctx, &Inventory{
		Name: opts.Inventory, State: InventoryApplied, Objects: union(left, refs(objs)), Record: opts.Record,
	})
}

// begin records every object that the application might make, and returns all
// objects that the inventory lists.
func (c *Client) begin(ctx context.Context, objs []*unstructured.Unstructured, opts ApplyOptions) ([]Ref, error) {
	if opts.Inventory == "" {
		return nil, nil
	}
	if err := c.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		return nil, err
	}
	old, err := c.Inventory(ctx, opts.Inventory)
	if err != nil {
		return nil, err
	}
	next := &Inventory{Name: opts.Inventory, State: InventoryApplying, Objects: refs(objs)}
	if old != nil {
		next.Objects = union(old.Objects, next.Objects)
		next.Record = old.Record
	}
	if err := c.writeInventory(ctx, next); err != nil {
		return nil, err
	}
	return next.Objects, nil
}

func (c *Client) applyAll(ctx context.Context, objs []*unstructured.Unstructured, inventory string, rewritten []*apiextensions.CustomResourceDefinition, changes *ChangeSet) error {
	for len(objs) > 0 {
		now := stage(RefOf(objs[0]))
		n := slices.IndexFunc(objs, func(o *unstructured.Unstructured) bool { return stage(RefOf(o)) != now })
		if n < 0 {
			n = len(objs)
		}
		if err := c.applyStage(ctx, objs[:n], inventory, changes); err != nil {
			return err
		}
		if now == 0 {
			if err := c.waitEstablished(ctx, objs[:n]); err != nil {
				return err
			}
			if err := c.renameManaged(ctx, rewritten); err != nil {
				return err
			}
		}
		objs = objs[n:]
	}
	return nil
}

// applyStage applies the objects of one stage. After an error, it starts no other one.
func (c *Client) applyStage(ctx context.Context, objs []*unstructured.Unstructured, inventory string, changes *ChangeSet) error {
	existing, err := c.readAll(ctx, refs(objs))
	if err != nil {
		return err
	}
	applied := make([]*Change, len(objs))
	var failed atomic.Bool
	var group errgroup.Group
	group.SetLimit(appliesAtOnce(stage(RefOf(objs[0]))))
	for i, obj := range objs {
		group.Go(func() error {
			if failed.Load() {
				return nil
			}
			r := RefOf(obj)
			err := c.retry(ctx, "apply "+r.String(), func(ctx context.Context) error {
				change, err := c.applyOver(ctx, existing[r.key()], marked(obj, inventory))
				if err == nil {
					applied[i] = &change
				}
				return err
			})
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	err = group.Wait()
	for _, change := range applied {
		if change != nil {
			*changes = append(*changes, *change)
		}
	}
	return err
}

// applyOver applies one object without a retry, and compares it with the existing
// one, which is nil if there was none.
func (c *Client) applyOver(ctx context.Context, existing, obj *unstructured.Unstructured) (Change, error) {
	change := Change{Object: RefOf(obj)}
	resource, err := c.resource(RefOf(obj))
	if err != nil {
		return change, err
	}
	if existing != nil && dropsConversion(existing, obj) {
		patch := []byte(`{"spec":{"conversion":{"strategy":"None","webhook":null}}}`)
		if _, err := resource.Patch(ctx, obj.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: pai.FieldManager}); err != nil {
			return change, err
		}
	}
	after, err := resource.Apply(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: pai.FieldManager, Force: true})
	if err != nil {
		return change, err
	}
	switch {
	case existing == nil:
		change.Action = Created
	case existing.GetResourceVersion() == after.GetResourceVersion(), sameContent(existing, after):
		change.Action = Unchanged
	default:
		change.Action = Configured
		change.Restarted = isWorkload(change.Object) && !reflect.DeepEqual(podTemplate(existing), podTemplate(after))
	}
	return change, nil
}

// isWorkload reports whether a change of the pod template replaces pods.
func isWorkload(r Ref) bool {
	return r.Group == "apps" && (r.Kind == "Deployment" || r.Kind == "DaemonSet" || r.Kind == "StatefulSet")
}

func podTemplate(o *unstructured.Unstructured) any {
	template, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "template")
	return template
}

// dropsConversion reports whether a definition changes from conversion by a
// webhook to none. Apply alone cannot do that: the CA belongs to the program of
// the webhook and would stay, and the API refuses an unused webhook.
func dropsConversion(before, next *unstructured.Unstructured) bool {
	if next.GetKind() != definitionKind {
		return false
	}
	_, was, _ := unstructured.NestedMap(before.Object, "spec", "conversion", "webhook")
	strategy, _, _ := unstructured.NestedString(next.Object, "spec", "conversion", "strategy")
	return was && strategy == "None"
}

// waitEstablished waits until the API server serves new kinds. The programs that
// convert between their versions do not run yet.
func (c *Client) waitEstablished(ctx context.Context, definitions []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeoutCause(ctx, establishTimeout,
		fmt.Errorf("the API server does not serve the new kinds after %s", establishTimeout))
	defer cancel()
	return c.wait(ctx, definitions, statusOf)
}

// sameContent compares two states of an object without the metadata that the API
// server maintains.
func sameContent(a, b *unstructured.Unstructured) bool {
	strip := func(o *unstructured.Unstructured) string {
		o = o.DeepCopy()
		for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
			unstructured.RemoveNestedField(o.Object, "metadata", field)
		}
		unstructured.RemoveNestedField(o.Object, "status")
		h, err := Hash([]*unstructured.Unstructured{o})
		return h + fmt.Sprint(err)
	}
	return strip(a) == strip(b)
}
