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
	"pai.dev/pai/internal/session"
)

// usersByEntry is the name of a migration of v0.10.
const usersByEntry = "users-by-entry"

// migration does what a release names a migration. Both directions are
// idempotent, check the observed state, and can be killed anywhere. undo is nil
// if the migration is not reversible.
type migration struct{ do, undo direction }

// direction is one direction of a migration.
type direction interface {
	Done(ctx context.Context, c *kube.Client) (bool, error)
	Do(ctx context.Context, c *kube.Client) error
}

// migrations are the migrations of all releases, by name.
func migrations() map[string]migration {
	return map[string]migration{
		usersByEntry: {do: rest.UsersMigration{To: rest.UsersByEntry}, undo: rest.UsersMigration{To: rest.UsersDocument}},
	}
}

// usersForm is the form in which a release stores the users, which is that of
// the migrations up to it.
func usersForm(releases []release.Manifest, services pai.ServicesVersion) rest.UsersForm {
	for _, r := range releases {
		named := slices.ContainsFunc(r.Migrations, func(m release.Migration) bool { return m.Name == usersByEntry })
		if named && services.AtLeast(r.Services.Version) {
			return rest.UsersByEntry
		}
	}
	return rest.UsersDocument
}

// migrator is the doer of plan.KindMigrate: toward an older release it undoes
// the migration.
type migrator struct {
	kube func(ctx context.Context) (*kube.Client, error)
}

func (m migrator) direction(ctx context.Context, s plan.Step) (direction, *kube.Client, error) {
	known, ok := migrations()[s.Target]
	if !ok {
		return nil, nil, fmt.Errorf("migration %q not found in this paictl", s.Target)
	}
	w := known.do
	if s.Back() {
		w = known.undo
	}
	if w == nil {
		return nil, nil, pai.Errorf(pai.CodeRefused, "to roll back to "+string(s.To)+", restore the etcd snapshot", "migration %s is not reversible", s.Target)
	}
	c, err := m.kube(ctx)
	return w, c, err
}

func (m migrator) Done(ctx context.Context, s plan.Step) (bool, error) {
	w, c, err := m.direction(ctx, s)
	if err != nil {
		return false, err
	}
	return w.Done(ctx, c)
}

func (m migrator) Do(ctx context.Context, s plan.Step) error {
	w, c, err := m.direction(ctx, s)
	if err != nil {
		return err
	}
	return w.Do(ctx, c)
}

// unmigrated lists the migrations of the known releases whose old form the
// cluster stores. It includes a migration that cannot be observed: its step
// checks again when it starts.
func unmigrated(ctx context.Context, s *session.Session) []string {
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
