package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

// The states of an inventory.
const (
	// InventoryApplying: objects are being changed, or the change was cut short.
	InventoryApplying = "applying"
	// InventoryApplied: the last application was carried out to its end.
	InventoryApplied = "applied"
	// InventoryStopped: the objects were deleted except those still listed.
	InventoryStopped = "stopped"
)

const (
	inventoryPrefix = "inventory-"
	inventoryLabel  = "pai.dev/inventory"
	// AnnotationInventory is on every applied object and names the inventory
	// that lists it: an object is pruned only by the inventory it carries.
	AnnotationInventory = "pai.dev/inventory"

	// AnnotationHolds marks an object that must not go with the application
	// that made it, because it holds what the annotation says: "state", "jobs".
	AnnotationHolds = "pai.dev/holds"

	keyObjects = "objects.json"
	keyState   = "state"
	keyRecord  = "record.json"
)

// Inventory is what one application left in the cluster. It is kept as a
// ConfigMap in pai-system.
type Inventory struct {
	Name    string
	State   string
	Objects []Ref
	// Record is what the caller noted of the last application that was carried
	// out to its end, and of none since.
	Record map[string]string
}

// Has reports whether the inventory lists an object.
func (inv *Inventory) Has(r Ref) bool {
	return inv != nil && slices.ContainsFunc(inv.Objects, func(o Ref) bool { return o.key() == r.key() })
}

// union lists every object of a and b once, b's version first.
func union(a, b []Ref) []Ref {
	out := slices.Clone(b)
	seen := keys(b)
	for _, r := range a {
		if !seen[r.key()] {
			seen[r.key()] = true
			out = append(out, r)
		}
	}
	return out
}

// minus lists the objects of a that are not in b.
func minus(a, b []Ref) []Ref {
	drop := keys(b)
	var out []Ref
	for _, r := range a {
		if !drop[r.key()] {
			out = append(out, r)
		}
	}
	return out
}

func keys(refs []Ref) map[Ref]bool {
	set := make(map[Ref]bool, len(refs))
	for _, r := range refs {
		set[r.key()] = true
	}
	return set
}

// Inventory reads an inventory; nil when there is none.
func (c *Client) Inventory(ctx context.Context, name string) (*Inventory, error) {
	var inv *Inventory
	err := c.retry(ctx, "read inventory "+name, func(ctx context.Context) error {
		cm, err := c.clientset.CoreV1().ConfigMaps(pai.SystemNamespace).Get(ctx, inventoryPrefix+name, metav1.GetOptions{})
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
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
		_, err := c.applyOnce(ctx, cm)
		return err
	})
}

func (c *Client) removeInventory(ctx context.Context, name string) error {
	return c.retry(ctx, "remove inventory "+name, func(ctx context.Context) error {
		err := c.clientset.CoreV1().ConfigMaps(pai.SystemNamespace).Delete(ctx, inventoryPrefix+name, metav1.DeleteOptions{})
		if isNotFound(err) {
			return nil
		}
		return err
	})
}

func namespaceObject(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name},
	}}
}

// marked is a copy of an object that says which inventory lists it.
func marked(obj *unstructured.Unstructured, inventory string) *unstructured.Unstructured {
	obj = obj.DeepCopy()
	if inventory == "" {
		return obj
	}
	annotations := maps.Clone(obj.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationInventory] = inventory
	obj.SetAnnotations(annotations)
	return obj
}
