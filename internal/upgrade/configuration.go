package upgrade

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

// moveConfiguration makes the configuration name the pair that is being moved
// to. Where its schema has to move as well, the plan's first step does both, so
// that what is kept of it is what the operator had.
func (s *Session) moveConfiguration(to pai.Pair, toward pai.Version) error {
	row, err := FindRelease(string(toward))
	if err != nil {
		return err
	}
	s.aim = config.MigrationTarget{Schema: row.Configuration.Schema, Pair: to}
	if s.Config.Layout.SchemaVersion < s.aim.Schema {
		return nil
	}
	return s.pushVersions(to)
}

// pushVersions makes the configuration name a pair, in its schema: new
// configuration works with old services, so a way back need not lower it.
func (s *Session) pushVersions(to pai.Pair) error {
	if err := config.SetVersions(s.Config.Dir, to); err != nil {
		return fmt.Errorf("write the new versions into the configuration: %w", err)
	}
	s.name(to)
	return nil
}

func (s *Session) name(to pai.Pair) {
	s.Config.Services.Cluster.Common.Release = to.Services
	s.Config.Kubernetes.Version = to.Kubernetes
}

// configuration is the doer of the step that moves the configuration.
type configuration struct{ session *Session }

// Done reports whether every file is of the step's schema.
func (c configuration) Done(_ context.Context, step plan.Step) (bool, error) {
	now, err := config.Load(c.session.Config.Dir)
	if err != nil {
		return false, err
	}
	return step.Target == fmt.Sprintf("schema %d", now.Layout.SchemaVersion), nil
}

// Do moves the configuration, keeping the former files beside it.
func (c configuration) Do(ctx context.Context, _ plan.Step) error {
	s := c.session
	u, err := config.Upgrade(s.Config.Dir, s.aim)
	if err != nil {
		return err
	}
	former, err := u.Write()
	if err != nil {
		return err
	}
	s.progress("The configuration in %s is of schema %d now; the former files are in %s.", s.Config.Dir, u.To, former)
	s.Config.Layout.SchemaVersion = u.To
	s.name(s.aim.Pair)
	s.revision, err = s.pushFolder(ctx, fmt.Sprintf("%s, schema %d", s.why, u.To), 0)
	return err
}

// KnownToConfig is what a check of a configuration has to know of the releases.
func KnownToConfig() ([]config.Release, error) {
	rows, err := release.Load(releases.FS)
	if err != nil {
		return nil, err
	}
	var known []config.Release
	for _, r := range rows {
		known = append(known, config.Release{
			Pair:            pai.Pair{Services: r.Services.Version, Kubernetes: r.Kubernetes.Version},
			CompatibleSince: r.Kubernetes.CompatibleSince, Schema: r.Configuration.Schema,
		})
	}
	return known, nil
}
