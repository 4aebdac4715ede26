package operation

import (
	"context"
	"fmt"
	"slices"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/rest"
)

// usersByEntry is the name of a migration of v0.10.
const usersByEntry = "users-by-entry"

// migration is what carries out one that a release names. Both ways are
// idempotent, look at the world to see whether they are done, and may be
// killed anywhere. undo is nil where there is no way back.
type migration struct{ do, undo way }

// way is one direction of a migration.
type way interface {
	Done(ctx context.Context, c *kube.Client) (bool, error)
	Do(ctx context.Context, c *kube.Client) error
}

// migrations are all that any release names, by name.
func migrations() map[string]migration {
	return map[string]migration{
		usersByEntry: {do: rest.UsersMigration{To: rest.UsersByEntry}, undo: rest.UsersMigration{To: rest.UsersDocument}},
	}
}

// usersForm is the form in which a release keeps the users: that of the
// migrations up to it.
func usersForm(releases []release.Manifest, services pai.ServicesVersion) rest.UsersForm {
	for _, r := range releases {
		named := slices.ContainsFunc(r.Migrations, func(m release.Migration) bool { return m.Name == usersByEntry })
		if named && services.AtLeast(r.Services.Version) {
			return rest.UsersByEntry
		}
	}
	return rest.UsersDocument
}

// migrator carries out plan.KindMigrate: toward a newer release the migration,
// toward an older one its undoing.
type migrator struct {
	kube func(ctx context.Context) (*kube.Client, error)
}

func (m migrator) way(ctx context.Context, s plan.Step) (way, *kube.Client, error) {
	known, ok := migrations()[s.Target]
	if !ok {
		return nil, nil, fmt.Errorf("this paictl does not know the migration %q", s.Target)
	}
	w := known.do
	if s.Back() {
		w = known.undo
	}
	if w == nil {
		return nil, nil, pai.Errorf(pai.CodeRefused, "restore etcd's snapshot to go back to "+string(s.To), "the migration %s cannot be undone", s.Target)
	}
	c, err := m.kube(ctx)
	return w, c, err
}

func (m migrator) Done(ctx context.Context, s plan.Step) (bool, error) {
	w, c, err := m.way(ctx, s)
	if err != nil {
		return false, err
	}
	return w.Done(ctx, c)
}

func (m migrator) Do(ctx context.Context, s plan.Step) error {
	w, c, err := m.way(ctx, s)
	if err != nil {
		return err
	}
	return w.Do(ctx, c)
}

// unmigrated lists the migrations of the known releases whose old form is what
// the cluster stores. One that cannot be looked at is in it: its step looks
// again when its turn comes.
func (s *operation) unmigrated(ctx context.Context) []string {
	c, err := s.Kube(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range s.Releases {
		for _, m := range r.Migrations {
			if known, ok := migrations()[m.Name]; ok {
				if done, err := known.do.Done(ctx, c); done && err == nil {
					continue
				}
			}
			names = append(names, m.Name)
		}
	}
	return names
}
