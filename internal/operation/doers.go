package operation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/service"
)

// doers makes the doers of every step kind in a plan. A plan of several hops
// has steps toward several versions; each is done by a doer that holds the
// bundle which carries that version.
func (s *operation) doers(p plan.Plan) (plan.Doers, error) {
	byWork := versioned{}
	all := plan.Doers{}
	for _, step := range p.Steps {
		all[step.Kind] = byWork
		if byWork[workOf(step)] != nil {
			continue
		}
		d, err := s.doersFor(step)
		if err != nil {
			return nil, err
		}
		byWork[workOf(step)] = d[step.Kind]
	}
	return all, nil
}

func (s *operation) doersFor(step plan.Step) (plan.Doers, error) {
	bundle, err := s.bundleFor(step)
	if err != nil {
		return nil, err
	}
	onMachines := cluster.Deps{Config: s.Config, Hosts: s.Hosts, Kube: s.Kube, Progress: s.Progressf}
	inCluster := service.Deps{Config: s.Config, Kube: s.Kube, Progress: s.Progressf, Refreshed: s.refreshed.note,
		Before: map[string]func(context.Context, *kube.Client) error{"rest-server": s.ensureAccess(step.To.Services())}}
	if bundle != nil {
		onMachines.Bundle, inCluster.Bundle = bundle, bundle
	}
	all := plan.Doers{}
	maps.Copy(all, cluster.Doers(onMachines))
	maps.Copy(all, service.Doers(inCluster))
	all[plan.KindMigrate] = migrator{s.Kube}
	all[plan.KindVolume] = volumes{s.Session}
	all[plan.KindConfiguration] = s.config
	return all, nil
}

// bundleFor is the bundle that a step takes its content from; none for steps
// that bring nothing.
func (s *operation) bundleFor(step plan.Step) (*release.Bundle, error) {
	switch step.Kind {
	case plan.KindClean, plan.KindStop, plan.KindDelete, plan.KindVolume, plan.KindUncordon, plan.KindMigrate, plan.KindServices, plan.KindConfiguration:
		return nil, nil
	case plan.KindImages:
		return s.Bundle(step.To.Release())
	case plan.KindService, plan.KindRefresh:
		b, err := s.Bundle(s.ReleaseWith(step.To.Services()))
		if err != nil && step.Kind == plan.KindService && step.Back() {
			return nil, nil // what goes back was recorded in the cluster
		}
		return b, err
	default:
		m, err := s.ManifestOf(step.To.Kubernetes())
		if err != nil {
			return nil, err
		}
		b, err := s.Bundle(m.Metadata.Name)
		if err != nil && step.Kind != plan.KindPrograms {
			return nil, nil // the version's folder on the machine has all that is needed
		}
		return b, err
	}
}

// work is what decides which doer a step needs.
type work struct {
	kind plan.Kind
	to   pai.AnyVersion
}

func workOf(s plan.Step) work { return work{s.Kind, s.To} }

// versioned hands each step to the doer that holds its version's bundle.
type versioned map[work]plan.Doer

func (v versioned) doer(s plan.Step) (plan.Doer, error) {
	d := v[workOf(s)]
	if d == nil {
		return nil, fmt.Errorf("step %s: nothing carries out %q toward version %q", s.ID, s.Kind, s.To)
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

// ensureAccess makes the secrets that the REST server of a release starts
// with, and keeps what reaches it where only the operator can read it.
func (s *operation) ensureAccess(services pai.ServicesVersion) func(ctx context.Context, client *kube.Client) error {
	return func(ctx context.Context, client *kube.Client) error {
		file := filepath.Join(s.ClusterDir(), rest.AccessFile)
		saved, err := rest.LoadAccess(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var addresses []string
		for _, m := range s.Config.Layout.MachineList {
			addresses = append(addresses, m.HostIP)
		}
		access, err := rest.EnsureSecrets(ctx, client, rest.Bootstrap{
			Addresses: addresses, Port: s.Config.Services.RestServer.ServerPort, Saved: saved, Users: usersForm(s.Releases, services)})
		if err != nil {
			return fmt.Errorf("make the REST server's secrets: %w", err)
		}
		return access.Save(file)
	}
}
