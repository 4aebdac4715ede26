package operation

import (
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/releases"
)

// This paictl has exactly the migrations of the releases, reversible if the
// release says that.
func TestMigrationsAreThoseOfTheReleases(t *testing.T) {
	known, err := release.Load(releases.FS)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, r := range known {
		for _, m := range r.Migrations {
			named[m.Name] = true
			found := migrations()[m.Name]
			if found.do == nil || (found.undo != nil) != m.Reversible {
				t.Errorf("release %s: migration %s: %+v", r.Metadata.Name, m.Name, found)
			}
		}
	}
	for name := range migrations() {
		if !named[name] {
			t.Errorf("no release names the migration %s", name)
		}
	}
	for release, want := range map[string]rest.UsersForm{"v0.9": rest.UsersDocument, "v0.10": rest.UsersByEntry, "v0.11": rest.UsersByEntry} {
		if got := usersForm(known, pai.ServicesVersion(release)); got != want {
			t.Errorf("%s: got users as %q, want %q", release, got, want)
		}
	}
}
