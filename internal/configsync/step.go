package configsync

import (
	"cmp"
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// Step is the doer of the plan step that migrates the configuration. It also
// holds the revision that an operation applies.
type Step struct {
	Session *session.Session
	// Target is what the configuration is migrated to.
	Target config.MigrationTarget
	// Reason is stored with the revisions that the operation adds.
	Reason string
	// Revision is the revision that the operation applies; 0 if it applies none.
	Revision int
}

// Migrate makes the configuration name a pair. If the schema must change as
// well, the first step of the plan does both, so that the previous files stay
// as the operator had them.
func (c *Step) Migrate(to pai.Pair, toward pai.Release) error {
	row, err := session.FindRelease(string(toward))
	if err != nil {
		return err
	}
	c.Target = config.MigrationTarget{Schema: row.Configuration.Schema, Pair: to}
	if c.Session.Config.Layout.SchemaVersion < c.Target.Schema {
		return nil
	}
	return c.SetVersions(to)
}

// SetVersions makes the configuration name a pair, with the schema that it
// has: new configuration works with old services, so a rollback keeps it.
func (c *Step) SetVersions(to pai.Pair) error {
	if err := config.SetVersions(c.Session.Config.Dir, to); err != nil {
		return fmt.Errorf("write the new versions into the configuration: %w", err)
	}
	c.setPair(to)
	return nil
}

func (c *Step) setPair(to pai.Pair) {
	release, kubernetes := &c.Session.Config.Services.Cluster.Common.Release, &c.Session.Config.Kubernetes.Version
	*release, *kubernetes = cmp.Or(pai.Release(to.Services), *release), cmp.Or(to.Kubernetes, *kubernetes)
}

// Push makes sure that the configuration is a revision, which the operation
// then applies. The caller holds the lock of the cluster.
func (c *Step) Push(ctx context.Context, reason string) (err error) {
	c.Revision, err = PushLocked(ctx, c.Session, reason, 0)
	return err
}

// Done reports whether every file has the schema of the step.
func (c *Step) Done(_ context.Context, step plan.Step) (bool, error) {
	now, err := config.Load(c.Session.Config.Dir)
	if err != nil {
		return false, err
	}
	return step.Schema == now.Layout.SchemaVersion, nil
}

// Do migrates the configuration and keeps the previous files beside it.
func (c *Step) Do(ctx context.Context, _ plan.Step) error {
	s := c.Session
	u, err := config.Upgrade(s.Config.Dir, c.Target)
	if err != nil {
		return err
	}
	previous, err := u.Write()
	if err != nil {
		return err
	}
	s.Progressf("Migrated the configuration in %s to schema %d. The previous files are in %s.", s.Config.Dir, u.To, previous)
	s.Config.Layout.SchemaVersion = u.To
	c.setPair(c.Target.Pair)
	return c.Push(ctx, fmt.Sprintf("%s, schema %d", c.Reason, u.To))
}
