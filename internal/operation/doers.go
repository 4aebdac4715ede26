package operation

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/internal/session"
)

// doers returns a doer for every step kind of a plan. A plan of several hops
// has steps toward several versions; the doer of a step holds the bundle of its
// version.
func (o *operation) doers(p plan.Plan) (plan.Doers, error) {
	byWork := versioned{}
	all := plan.Doers{}
	for _, step := range p.Steps {
		all[step.Kind] = byWork
		if byWork[workOf(step)] != nil {
			continue
		}
		d, err := o.doersFor(step)
		if err != nil {
			return nil, err
		}
		byWork[workOf(step)] = d[step.Kind]
	}
	return all, nil
}

func (o *operation) doersFor(step plan.Step) (plan.Doers, error) {
	bundle, err := bundleFor(o.Session, step)
	if err != nil {
		return nil, err
	}
	onMachines := machineDeps(o.Session)
	onMachines.Gap = o.noteGap
	onMachines.Restoring = o.restoring
	if g, ok := o.goal.(equipped); ok {
		g.Equip(o, &onMachines)
	}
	inCluster := service.Deps{Config: o.Config, Kube: o.Kube, Progress: o.Progressf, Refreshed: o.recorder.note, Before: o.before(step.To.Services())}
	inCluster.Prepared = map[string]func(context.Context) (bool, error){"rest-server": both(o.historyIsThere(step.To.Services()), o.accessIsThere)}
	if bundle != nil {
		onMachines.Bundle, inCluster.Bundle = bundle, bundle
	}
	return o.allDoers(onMachines, inCluster), nil
}

// before creates what must exist before services of a release are applied, by service.
// Prometheus, node-exporter, and Alertmanager start before the REST server. They have its CA,
// or a certificate of it. The portal can start beside it: access, which one service at a time
// calls, makes the CA for both.
func (o *operation) before(services pai.ServicesVersion) map[string]func(context.Context, *kube.Client) error {
	access := o.ensureAccess(services)
	return map[string]func(context.Context, *kube.Client) error{
		"rest-server": o.withQueues(services, o.withHistory(services, access)), "prometheus": access, "node-exporter": access, "alertmanager": access,
		PortalService: func(ctx context.Context, client *kube.Client) error {
			if err := access(ctx, client); err != nil {
				return err
			}
			return rest.EnsurePortalSecrets(ctx, client, o.Portal())
		}}
}

// allDoers has a doer for every step kind.
func (o *operation) allDoers(onMachines cluster.Deps, inCluster service.Deps) plan.Doers {
	all := plan.Doers{}
	maps.Copy(all, cluster.Doers(onMachines))
	maps.Copy(all, service.Doers(inCluster))
	all[plan.KindMigrate] = migrator{o.Kube}
	all[plan.KindVolume] = volumes{o.Session}
	all[plan.KindConfiguration] = o.config
	all[plan.KindLayout] = configsync.Removal{Step: o.config}
	return all
}

func machineDeps(s *session.Session) cluster.Deps {
	records, err := s.Records()
	if err != nil {
		records = nil // each step that needs them fails
	}
	return cluster.Deps{Config: s.Config, Records: records, Hosts: s.Hosts, Seed: s.Seed().Hostname, Kube: s.Kube, Progress: s.Progressf,
		OperatorKey: func() (ed25519.PrivateKey, error) { return release.EnsureKey(release.KeyFile(s.Dirs.State)) }}
}

// bundleFor opens the bundle that a step takes its content from. It returns nil
// for a step that brings nothing, and for one whose content is on the machines
// or in the cluster if this host does not have the bundle.
func bundleFor(s *session.Session, step plan.Step) (*release.Bundle, error) {
	name, err := step.BundleRelease(s.Releases)
	switch {
	case name == "" || err != nil:
		return nil, err
	case step.NeedsBundle():
		return s.Bundle(name)
	default:
		return s.OptionalBundle(name), nil
	}
}

// work decides which doer a step needs.
type work struct {
	kind plan.Kind
	to   pai.AnyVersion
}

func workOf(s plan.Step) work { return work{s.Kind, s.To} }

// versioned passes each step to the doer that holds the bundle of its version.
type versioned map[work]plan.Doer

func (v versioned) doer(s plan.Step) (plan.Doer, error) {
	d := v[workOf(s)]
	if d == nil {
		return nil, fmt.Errorf("step %s: no doer for kind %q and version %q", s.ID, s.Kind, s.To)
	}
	return d, nil
}

func (v versioned) Done(ctx context.Context, s plan.Step) (bool, error) {
	d, err := v.doer(s)
	if err != nil {
		return false, err
	}
	return d.Done(ctx, s)
}

func (v versioned) Do(ctx context.Context, s plan.Step) error {
	d, err := v.doer(s)
	if err != nil {
		return err
	}
	return d.Do(ctx, s)
}

// both reports whether both are true. The second is asked only if the first is.
func both(first, second func(context.Context) (bool, error)) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		if is, err := first(ctx); err != nil || !is {
			return false, err
		}
		return second(ctx)
	}
}

// accessIsThere reports whether this host has credentials of the REST server that are valid.
// A restore from a backup ends those of before, and the server runs.
func (o *operation) accessIsThere(ctx context.Context) (bool, error) {
	saved, err := rest.LoadAccess(filepath.Join(o.ClusterDir(), rest.AccessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	client, err := o.Kube(ctx)
	if err != nil {
		return false, err
	}
	return rest.HasAccess(ctx, client, saved)
}

// ensureAccess makes the secrets that the REST server of a release starts with,
// and stores its credentials where only the operator can read them.
func (o *operation) ensureAccess(services pai.ServicesVersion) func(ctx context.Context, client *kube.Client) error {
	var one sync.Mutex // services start in parallel
	made := false      // one service made them for all others of the operation
	return func(ctx context.Context, client *kube.Client) error {
		one.Lock()
		defer one.Unlock()
		if made {
			return nil
		}
		file := filepath.Join(o.ClusterDir(), rest.AccessFile)
		saved, err := rest.LoadAccess(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		access, err := rest.EnsureSecrets(ctx, client, rest.Bootstrap{
			Endpoint: o.RestServer(), Saved: saved, Users: usersForm(o.Releases, services), Note: session.TokenNote()})
		if err != nil {
			return fmt.Errorf("make secrets of the REST server: %w", err)
		}
		err = access.Save(file)
		made = err == nil
		return err
	}
}
