package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const (
	// inventoryPrefix and a service's name make the name of its inventory.
	inventoryPrefix = "service-"
	recordRelease   = "release"
	recordHash      = "hash"

	// readyTimeout is how long a service may take to become ready: images are
	// there already, but small machines start programs slowly.
	readyTimeout = 5 * time.Minute
)

// ServiceSource is the content of a release that services need;
// *release.Bundle is one.
type ServiceSource interface {
	Source
	// Services has a folder for each service.
	Services() fs.FS
}

// Deps is what carrying out service steps needs.
type Deps struct {
	Config *config.Config
	// Bundle may be nil for steps that only take away.
	Bundle   ServiceSource
	Kube     func(ctx context.Context) (*kube.Client, error)
	Progress func(format string, args ...any)
	// Before is run for a service before it is applied, by service; for what
	// must exist first and is no part of a chart.
	Before map[string]func(ctx context.Context, client *kube.Client) error
	// Refreshed hears what a refresh did to a service's objects, as soon as it
	// did; nil hears nothing.
	Refreshed func(ctx context.Context, service string, changes kube.ChangeSet) error
}

// Doers carry out the service kinds.
func Doers(d Deps) plan.Doers {
	if d.Progress == nil {
		d.Progress = func(string, ...any) {}
	}
	return plan.Doers{plan.KindService: starter{d}, plan.KindRefresh: refresher{starter{d}}, plan.KindStop: stopper{d}, plan.KindDelete: deleter{stopper{d}}}
}

func (d Deps) client(ctx context.Context) (*kube.Client, error) {
	client, err := d.Kube(ctx)
	if err != nil {
		return nil, err
	}
	return client.WithProgress(d.Progress), nil
}

// starter applies one service of one release.
type starter struct{ Deps }

// wanted is what a step applies.
type wanted struct {
	service Service
	objs    []*unstructured.Unstructured
	hash    string // of objs
}

// wanted renders the step's service; on a way back it is what was recorded.
func (d starter) wanted(ctx context.Context, s plan.Step) (wanted, error) {
	if s.Back() {
		if w, ok, err := d.former(ctx, s); ok || err != nil {
			return w, err
		}
	}
	if d.Bundle == nil {
		return wanted{}, fmt.Errorf("start service %s: there is no bundle of release %s", s.Target, s.To)
	}
	if to := d.Bundle.Manifest().Services.Version; to != s.To {
		return wanted{}, fmt.Errorf("start service %s: the step is for release %s, the bundle is of %s", s.Target, s.To, to)
	}
	services, err := Catalog(d.Bundle.Services())
	if err != nil {
		return wanted{}, err
	}
	for _, service := range services {
		if service.Name != s.Target {
			continue
		}
		objs, err := Render(ctx, service, d.Config, d.Bundle)
		if err != nil {
			return wanted{}, err
		}
		hash, err := kube.Hash(objs)
		return wanted{service, objs, hash}, err
	}
	return wanted{}, pai.Errorf(pai.CodeUsage, "", "release %s has no service %q", s.To, s.Target)
}

// looked is what a step would apply, and whether precisely that was applied,
// to its end.
func (d starter) looked(ctx context.Context, s plan.Step) (want wanted, client *kube.Client, applied bool, err error) {
	if want, err = d.wanted(ctx, s); err != nil {
		return want, nil, false, err
	}
	if client, err = d.client(ctx); err != nil {
		return want, nil, false, err
	}
	applied, err = wasApplied(ctx, client, s, want)
	return want, client, applied, err
}

// Done is true when exactly what would be applied was applied, to its end,
// and is all ready.
func (d starter) Done(ctx context.Context, s plan.Step) (bool, error) {
	want, client, applied, err := d.looked(ctx, s)
	if err != nil || !applied {
		return false, err
	}
	refs := make([]kube.Ref, len(want.objs))
	for i, obj := range want.objs {
		refs[i] = kube.RefOf(obj)
	}
	unready, err := client.Unready(ctx, refs)
	return err == nil && len(unready) == 0, err
}

// wasApplied reports whether exactly what is wanted was the last that was
// applied, and to its end.
func wasApplied(ctx context.Context, client *kube.Client, s plan.Step, want wanted) (bool, error) {
	inv, err := client.Inventory(ctx, inventoryPrefix+s.Target)
	if err != nil || inv == nil || inv.State != kube.InventoryApplied {
		return false, err
	}
	return inv.Record[recordRelease] == string(s.To) && inv.Record[recordHash] == want.hash, nil
}

// Do applies the service, waits until it is ready, and only then deletes what
// it replaced.
func (d starter) Do(ctx context.Context, s plan.Step) error {
	return d.apply(ctx, s, func(kube.ChangeSet) error { return nil })
}

// apply tells what it did to objects as soon as it did, also where it then fails.
func (d starter) apply(ctx context.Context, s plan.Step, tell func(kube.ChangeSet) error) error {
	want, err := d.wanted(ctx, s)
	if err != nil {
		return err
	}
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	if before := d.Before[s.Target]; before != nil {
		if err := before(ctx, client); err != nil {
			return fmt.Errorf("prepare service %s: %w", s.Target, err)
		}
	}
	if c := want.service.WebhookCertificate; c != nil {
		if err := c.ensure(ctx, client, time.Now()); err != nil {
			return fmt.Errorf("prepare service %s: %w", s.Target, err)
		}
	}
	if err := d.remember(ctx, client, want, s.To); err != nil {
		return err
	}
	opts := kube.ApplyOptions{Inventory: inventoryPrefix + s.Target, Record: map[string]string{recordRelease: string(s.To)}}
	changes, err := client.Apply(ctx, want.objs, opts)
	if err := errors.Join(err, tell(changes)); err != nil {
		return fmt.Errorf("apply service %s: %w", s.Target, err)
	}
	d.Progress("%s: %s", s.Target, changes)
	waiting, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("a service has %s to become ready", readyTimeout))
	defer cancel()
	if err := client.Wait(waiting, want.objs); err != nil {
		return pai.Errorf(pai.CodeFailed, "see what its pods say; run the same command again to go on", "service %s: %w", s.Target, err)
	}
	opts.Record[recordHash] = want.hash
	pruned, err := client.Prune(ctx, want.objs, opts)
	if err := errors.Join(err, tell(pruned)); err != nil {
		return fmt.Errorf("remove what service %s no longer has: %w", s.Target, err)
	}
	if n := pruned.Count(kube.Deleted); n > 0 && s.Kind == plan.KindRefresh {
		d.Progress("%s: %d objects that it no longer has were deleted", s.Target, n)
	} else if n > 0 {
		d.Progress("%s: %d objects of the former release deleted", s.Target, n)
	}
	return nil
}
