package service

import (
	"context"
	"fmt"
	"sync"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// Behind reports whether a service runs whose change to a release has not started or is not
// complete. A service that is stopped or was never started is not behind.
func Behind(ctx context.Context, client *kube.Client, name string, release pai.ServicesVersion) (bool, error) {
	inv, err := client.Inventory(ctx, inventoryPrefix+name)
	if err != nil || inv == nil || inv.State == kube.InventoryStopped {
		return false, err
	}
	return inv.State == kube.InventoryApplying || pai.ServicesVersion(inv.Record[recordRelease]).Less(release), nil
}

// failures records which service failed for the steps of one operation, so that a step beside one
// does not wait for what will not come.
type failures struct {
	mu     sync.Mutex
	failed map[string]error
	waits  map[*wait]bool
}

// wait is one step that waits for something of other services.
type wait struct {
	services []string
	cancel   context.CancelCauseFunc
}

func newFailures() *failures { return &failures{failed: map[string]error{}, waits: map[*wait]bool{}} }

// until returns a context that ends when the step of one of the services fails, with that
// as its cause; at once if it has failed already. stop releases it.
func (f *failures) until(ctx context.Context, services []string) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &wait{services: services, cancel: cancel}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waits[w] = true
	for _, s := range services {
		if err := f.failed[s]; err != nil {
			cancel(err)
		}
	}
	return ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.waits, w)
		cancel(nil)
	}
}

// note records how the step of a service ended.
func (f *failures) note(service string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.failed, service)
	if err == nil {
		return
	}
	f.failed[service] = fmt.Errorf("service %s, which is upgraded beside it, failed", service)
	for w := range f.waits {
		for _, s := range w.services {
			if s == service {
				w.cancel(f.failed[service])
			}
		}
	}
}
