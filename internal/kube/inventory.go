package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

// The states of an inventory.
const (
	// InventoryApplying: a change is in progress or was interrupted.
	InventoryApplying = "applying"
	// InventoryApplied: the last change is complete.
	InventoryApplied = "applied"
	// InventoryStopped: all objects were deleted except the listed ones.
	InventoryStopped = "stopped"
)

const (
	inventoryPrefix = "inventory-"
	inventoryLabel  = "pai.dev/inventory"
	// AnnotationInventory is on every applied object and names its inventory.
	// Only that inventory prunes the object.
	AnnotationInventory = "pai.dev/inventory"

	// AnnotationHolds marks an object that is never pruned, because it has what
	// the annotation names: "state", "jobs".
	AnnotationHolds = "pai.dev/holds"

	keyObjects = "objects.json"
	keyState   = "state"
	keyRecord  = "record.json"
)

// Inventory lists the objects of one set that was applied. It is a ConfigMap in
// pai-system.
type Inventory struct {
	Name    string
	State   string
	Objects []Ref
	// Record is the caller's note about the last complete change.
	Record map[string]string
}

// Has reports whether the inventory lists an object.
func (inv *Inventory) Has(r Ref) bool { return inv != nil && lists(inv.Objects, r) }

func lists(refs []Ref, r Ref) bool {
	return slices.ContainsFunc(refs, func(o Ref) bool { return o.key() == r.key() })
}

// union lists every object of a and b once, those of b first.
func union(a, b []Ref) []Ref {
	out := slices.Clone(b)
	for _, r := range a {
		if !lists(out, r) {
			out = append(out, r)
		}
	}
	return out
}

// minus lists the objects of a that are not in b.
func minus(a, b []Ref) []Ref {
	return slices.DeleteFunc(slices.Clone(a), func(r Ref) bool { return lists(b, r) })
}

// Inventory reads an inventory. It is nil if the inventory does not exist.
func (c *Client) Inventory(ctx context.Context, name string) (*Inventory, error) {
	var inv *Inventory
	err := c.retry(ctx, "read inventory "+name, func(ctx context.Context) error {
		cm, err := c.clientset.CoreV1().ConfigMaps(pai.SystemNamespace).Get(ctx, inventoryPrefix+name, metav1.GetOptions{})
		if err != nil {
			return ignoreNotFound(err)
		}
		inv, err = inventoryOf(cm)
		return err
	})
	return inv, err
}

// Inventories reads all inventories, by name.
func (c *Client) Inventories(ctx context.Context) (map[string]*Inventory, error) {
	all := map[string]*Inventory{}
	err := c.retry(ctx, "read the inventories", func(ctx context.Context) error {
		list, err := c.clientset.CoreV1().ConfigMaps(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: inventoryLabel})
		if err != nil {
			return err
		}
		for i := range list.Items {
			inv, err := inventoryOf(&list.Items[i])
			if err != nil {
				return err
			}
			all[inv.Name] = inv
		}
		return nil
	})
	return all, err
}

func inventoryOf(cm *corev1.ConfigMap) (*Inventory, error) {
	inv := &Inventory{Name: strings.TrimPrefix(cm.Name, inventoryPrefix), State: cm.Data[keyState]}
	if err := json.Unmarshal([]byte(cm.Data[keyObjects]), &inv.Objects); err != nil {
		return nil, fmt.Errorf("read the objects in ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	if record := cm.Data[keyRecord]; record != "" {
		if err := json.Unmarshal([]byte(record), &inv.Record); err != nil {
			return nil, fmt.Errorf("read the record in ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
		}
	}
	return inv, nil
}

func (c *Client) writeInventory(ctx context.Context, inv *Inventory) error {
	objects, err := json.MarshalIndent(inv.Objects, "", " ")
	if err != nil {
		return fmt.Errorf("write inventory %s: %w", inv.Name, err)
	}
	data := map[string]any{keyState: inv.State, keyObjects: string(objects)}
	if len(inv.Record) > 0 {
		record, err := json.Marshal(inv.Record)
		if err != nil {
			return fmt.Errorf("write inventory %s: %w", inv.Name, err)
		}
		data[keyRecord] = string(record)
	}
	cm := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"name": inventoryPrefix + inv.Name, "namespace": pai.SystemNamespace,
			"labels": map[string]any{inventoryLabel: inv.Name},
		},
		"data": data,
	}}
	return c.retry(ctx, "write inventory "+inv.Name, func(ctx context.Context) error {
		_, err := c.applyOver(ctx, nil, cm)
		return err
	})
}

func (c *Client) removeInventory(ctx context.Context, name string) error {
	return c.retry(ctx, "remove inventory "+name, func(ctx context.Context) error {
		return ignoreNotFound(c.clientset.CoreV1().ConfigMaps(pai.SystemNamespace).Delete(ctx, inventoryPrefix+name, metav1.DeleteOptions{}))
	})
}

// marked is a copy of an object with the name of its inventory.
func marked(obj *unstructured.Unstructured, inventory string) *unstructured.Unstructured {
	obj = obj.DeepCopy()
	if inventory == "" {
		return obj
	}
	annotations := obj.GetAnnotations() // a copy
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationInventory] = inventory
	obj.SetAnnotations(annotations)
	return obj
}
