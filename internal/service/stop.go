package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// stopper stops a service.
type stopper struct{ Deps }

// keeps selects what stays when a service is stopped: definitions, and objects
// that hold state or jobs. With wipe, only what kube never deletes stays.
func keeps(wipe bool) func(*unstructured.Unstructured) bool {
	return func(obj *unstructured.Unstructured) bool {
		if wipe {
			return false
		}
		switch obj.GetKind() {
		case "CustomResourceDefinition", "PersistentVolumeClaim", "PersistentVolume":
			return true
		}
		return obj.GetAnnotations()[kube.AnnotationHolds] != ""
	}
}

// Done is true if nothing is left that Do would delete.
func (d stopper) Done(ctx context.Context, s plan.Step) (bool, error) {
	client, err := d.client(ctx)
	if err != nil {
		return false, err
	}
	inv, err := client.Inventory(ctx, inventoryPrefix+s.Target)
	if err != nil || inv == nil {
		return err == nil, err
	}
	if inv.State != kube.InventoryStopped {
		return false, nil
	}
	left, err := client.Deletable(ctx, inv.Name, keeps(s.Wipe))
	return err == nil && len(left) == 0, err
}

// Do deletes the objects of the service. It deletes webhooks first, because a
// webhook without a backend rejects requests.
func (d stopper) Do(ctx context.Context, s plan.Step) error {
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	if err := client.DeleteInventory(ctx, inventoryPrefix+s.Target, keeps(s.Wipe)); err != nil {
		return fmt.Errorf("stop service %s: %w", s.Target, err)
	}
	return nil
}

// deleter deletes a service and its records; with wipe also its state.
type deleter struct{ stopper }

// Done is true if nothing is left that Do would delete.
func (d deleter) Done(ctx context.Context, s plan.Step) (bool, error) {
	if stopped, err := d.stopper.Done(ctx, s); err != nil || !stopped {
		return false, err
	}
	client, err := d.client(ctx)
	if err != nil {
		return false, err
	}
	records, err := listRecorded(ctx, client, s.Target)
	return err == nil && len(records) == 0, err
}

// Do deletes the objects of the service and then its records, so that a rollback
// is possible as long as an object is left.
func (d deleter) Do(ctx context.Context, s plan.Step) error {
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	if err := checkFinalizers(ctx, client, s); err != nil {
		return err
	}
	if err := client.DeleteInventory(ctx, inventoryPrefix+s.Target, keeps(s.Wipe)); err != nil {
		return fmt.Errorf("delete service %s: %w", s.Target, err)
	}
	records, err := listRecorded(ctx, client, s.Target)
	if err != nil {
		return err
	}
	return deleteRecords(ctx, client, s.Target, records)
}

// checkFinalizers refuses to delete the state of a stopped service if only the
// service can remove its finalizers: the deletion would never end.
func checkFinalizers(ctx context.Context, client *kube.Client, s plan.Step) error {
	inv, err := client.Inventory(ctx, inventoryPrefix+s.Target)
	if err != nil || inv == nil || inv.State != kube.InventoryStopped {
		return err
	}
	var held []string
	keep := keeps(s.Wipe)
	_, err = client.Deletable(ctx, inv.Name, func(obj *unstructured.Unstructured) bool {
		own := func(f string) bool {
			return !strings.HasPrefix(f, "kubernetes.io/") && f != "foregroundDeletion" && f != "orphan"
		}
		if obj.GetKind() != "CustomResourceDefinition" && slices.ContainsFunc(obj.GetFinalizers(), own) {
			held = append(held, kube.RefOf(obj).String())
		}
		return keep(obj)
	})
	if err != nil || !s.Wipe || len(held) == 0 {
		return err
	}
	return pai.Errorf(pai.CodeRefused, "start the service, then delete it while it runs; run: paictl service start "+s.Target,
		"service %s is stopped, and only the service itself can finalize its state: %s", s.Target, strings.Join(held, ", "))
}
