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

	// readyTimeout limits how long a service takes to become ready. Its images
	// are on the machines, but small machines start programs slowly.
	readyTimeout = 5 * time.Minute
)

// ServiceSource is the content of a release that services need;
// *release.Bundle is one.
type ServiceSource interface {
	Source
	// Services has a directory for each service.
	Services() fs.FS
}

// Deps is what the doers need.
type Deps struct {
	Config *config.Config
	// Bundle can be nil for steps that only delete.
	Bundle   ServiceSource
	Kube     func(ctx context.Context) (*kube.Client, error)
	Progress func(format string, args ...any)
	// Before creates what must exist before a service is applied and is not
	// part of its chart, by service.
	Before map[string]func(ctx context.Context, client *kube.Client) error
	// Prepared reports whether what Before creates is there, by service. A service that
	// needs nothing can be left out.
	Prepared map[string]func(ctx context.Context) (bool, error)
	// Refreshed is called with the changes of a refresh to the objects of a
	// service, as soon as they are made; it can be nil.
	Refreshed func(ctx context.Context, service string, changes kube.ChangeSet) error
}

// Doers returns the doers of the service kinds.
func Doers(d Deps) plan.Doers {
	if d.Progress == nil {
		d.Progress = func(string, ...any) {}
	}
	return plan.Doers{plan.KindService: newStarter(d), plan.KindRefresh: refresher{newStarter(d)}, plan.KindStop: stopper{d}, plan.KindDelete: deleter{stopper{d}}}
}

func (d Deps) client(ctx context.Context) (*kube.Client, error) {
	client, err := d.Kube(ctx)
	if err != nil {
		return nil, err
	}
	return client.WithProgress(d.Progress), nil
}

// starter applies one service of one release.
type starter struct {
	Deps
	failures *failures
	rendered *renderings
	logins   *loginsOnce
}

func newStarter(d Deps) starter {
	return starter{Deps: d, failures: newFailures(), rendered: newRenderings(), logins: &loginsOnce{}}
}

// wanted is what a step applies.
type wanted struct {
	service Service
	objs    []*unstructured.Unstructured
	hash    string // of objs
}

// refs names what a step applies.
func (w wanted) refs() []kube.Ref {
	refs := make([]kube.Ref, len(w.objs))
	for i, obj := range w.objs {
		refs[i] = kube.RefOf(obj)
	}
	return refs
}

// wanted renders the service of a step; a rollback uses the recorded objects.
func (d starter) wanted(ctx context.Context, s plan.Step) (wanted, error) {
	if s.Back() {
		if w, ok, err := d.previous(ctx, s); ok || err != nil {
			return w, err
		}
	}
	if w, ok := d.rendered.of(s); ok {
		return w, nil
	}
	w, err := d.render(ctx, s)
	if err != nil && ctx.Err() == nil {
		// The same input fails again, so Do is never called, and its failure never noted.
		d.failures.note(s.Target, err)
	}
	return w, err
}

// render renders the service of a step from the bundle.
func (d starter) render(ctx context.Context, s plan.Step) (wanted, error) {
	if d.Bundle == nil {
		return wanted{}, fmt.Errorf("start service %s: bundle of release %s not found", s.Target, s.To)
	}
	if to := d.Bundle.Manifest().Services.Version; to != s.To.Services() {
		return wanted{}, fmt.Errorf("start service %s: the step needs release %s, but the bundle has %s", s.Target, s.To, to)
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
		if err != nil {
			return wanted{}, err
		}
		w := wanted{service, objs, hash}
		d.rendered.keep(s, w)
		return w, nil
	}
	return wanted{}, pai.Errorf(pai.CodeUsage, "", "release %s has no service %q", s.To, s.Target)
}

// compare returns what a step would apply, and whether exactly that was applied
// completely.
func (d starter) compare(ctx context.Context, s plan.Step) (want wanted, client *kube.Client, applied bool, err error) {
	if want, err = d.wanted(ctx, s); err != nil {
		return want, nil, false, err
	}
	if client, err = d.client(ctx); err != nil {
		return want, nil, false, err
	}
	applied, err = wasApplied(ctx, client, s, want)
	return want, client, applied, err
}

// prepared reports whether what Before creates for a service is there.
func (d Deps) prepared(ctx context.Context, service string) (bool, error) {
	if is := d.Prepared[service]; is != nil {
		return is(ctx)
	}
	return true, nil
}

// Done is true if exactly what Do would apply was applied completely and is
// ready, and what must exist before it does.
func (d starter) Done(ctx context.Context, s plan.Step) (bool, error) {
	if ok, err := d.prepared(ctx, s.Target); err != nil || !ok {
		return false, err
	}
	want, client, applied, err := d.compare(ctx, s)
	if err != nil || !applied {
		return false, err
	}
	unready, err := client.Unready(ctx, want.refs())
	return err == nil && len(unready) == 0, err
}

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
	err := d.apply(ctx, s, func(kube.ChangeSet) error { return nil })
	d.failures.note(s.Target, err)
	return err
}

// prepare creates what must exist before a service is applied. It ends if a service that
// this one starts beside fails.
func (d starter) prepare(ctx context.Context, client *kube.Client, s Service) error {
	ctx, stop := d.failures.until(ctx, s.Beside)
	defer stop()
	if before := d.Before[s.Name]; before != nil {
		if err := before(ctx, client); err != nil {
			return err
		}
	}
	if c := s.WebhookCertificate; c != nil {
		if err := c.ensure(ctx, client, time.Now()); err != nil {
			return err
		}
	}
	if s.MetricsLogin {
		return d.logins.ensure(ctx, client)
	}
	return nil
}

// apply calls report with its changes as soon as they are made, even if it then
// fails.
func (d starter) apply(ctx context.Context, s plan.Step, report func(kube.ChangeSet) error) error {
	want, err := d.wanted(ctx, s)
	if err != nil {
		return err
	}
	client, err := d.client(ctx)
	if err != nil {
		return err
	}
	defer d.restartStalled(ctx, client, s, want)()
	if err := d.prepare(ctx, client, want.service); err != nil {
		return fmt.Errorf("prepare service %s: %w", s.Target, err)
	}
	if err := d.record(ctx, client, want, s.To.Services()); err != nil {
		return err
	}
	opts := kube.ApplyOptions{Inventory: inventoryPrefix + s.Target, Record: map[string]string{recordRelease: string(s.To)}}
	changes, err := client.Apply(ctx, want.objs, opts)
	if err != nil {
		err = withUnready(err, client.ExplainWorkloads(ctx, want.refs()))
	}
	if err := errors.Join(err, report(changes)); err != nil {
		return fmt.Errorf("apply service %s: %w", s.Target, err)
	}
	d.Progress("%s: %s", s.Target, changes)
	waiting, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready within %s", readyTimeout))
	defer cancel()
	if err := client.Wait(waiting, want.objs); err != nil {
		return pai.Errorf(pai.CodeFailed, "see the events and logs of its pods, then run the same command again", "service %s: %w", s.Target, err)
	}
	opts.Record[recordHash] = want.hash
	pruned, err := client.Prune(ctx, want.objs, opts)
	if err := errors.Join(err, report(pruned)); err != nil {
		return fmt.Errorf("delete the obsolete objects of service %s: %w", s.Target, err)
	}
	if n := pruned.Count(kube.Deleted); n > 0 && s.Kind == plan.KindRefresh {
		d.Progress("%s: deleted %d objects that the configuration no longer has", s.Target, n)
	} else if n > 0 {
		d.Progress("%s: deleted %d objects of the previous release", s.Target, n)
	}
	return nil
}
