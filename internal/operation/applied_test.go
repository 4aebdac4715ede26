package operation

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
)

func TestOperationAppliesRevision(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	store := revision.NewStore(files)
	s := testSession(t, files, nil)
	older, newer := pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	services := pai.Pair{Services: "v0.10", Kubernetes: "v0.9-pai"}
	for _, step := range []struct {
		name     string
		goal     Goal
		from, to pai.Pair
		edit     bool // the configuration changes first
		revision int
		applied  revision.Applied
	}{
		{"clean", Clean(false), older, pai.Pair{}, false, 0, revision.Applied{}},
		{"boot", bootup{}, pai.Pair{}, older, false, 1, revision.Applied{revision.Kubernetes: 1}},
		{"start one service", startServices{which: plan.Choice{Names: []string{"kueue"}}}, older, older, false, 1, revision.Applied{revision.Kubernetes: 1}},
		{"start all services but one", startServices{which: plan.Choice{Skip: []string{"kueue"}}}, older, older, false, 1, revision.Applied{revision.Kubernetes: 1}},
		{"start all services", startServices{}, older, older, false, 1, revision.Applied{revision.Kubernetes: 1, revision.Services: 1}},
		{"upgrade services", Upgrade(plan.Target{Release: "v0.10"}), older, services, true, 2, revision.Applied{revision.Kubernetes: 1, revision.Services: 2}},
		{"roll back services", rollback{}, services, older, true, 3, revision.Applied{revision.Kubernetes: 1, revision.Services: 1}},
		{"upgrade both", Upgrade(plan.Target{Release: "v0.10"}), older, newer, false, 3, revision.Applied{revision.Kubernetes: 3, revision.Services: 3}},
		{"roll back both", rollback{}, newer, older, true, 4, revision.Applied{revision.Kubernetes: 4, revision.Services: 1}},
		{"roll back to unknown services", rollback{}, older, pai.Pair{Services: "v0.8", Kubernetes: "v0.9-pai"}, false, 4, revision.Applied{revision.Kubernetes: 4}},
	} {
		o := newOperation(s, step.goal, RunOptions{})
		o.preview.Plan = plan.Plan{From: step.from, To: step.to}
		if step.edit {
			editConfiguration(t, s)
		}
		if err := o.applyRevision(t.Context()); err != nil || o.config.Revision != step.revision {
			t.Errorf("%s: got revision %d, %v, want %d", step.name, o.config.Revision, err, step.revision)
		}
		if err := o.markApplied(t.Context()); err != nil {
			t.Error(err)
		}
		if a, err := store.Applied(t.Context()); err != nil || !maps.Equal(a, step.applied) {
			t.Errorf("%s: got applied %v, %v; want %v", step.name, a, err, step.applied)
		}
	}
}

// editConfiguration makes the directory differ from its last revision.
func editConfiguration(t *testing.T, s *session.Session) {
	t.Helper()
	file := filepath.Join(s.Config.Dir, config.LayoutFile)
	data, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, append(data, "# edited\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An older paictl wrote which revisions are applied, and not their versions.
// The cluster recorded these, also in the middle of an upgrade.
func TestRollbackFindsRevisionThatOlderProgramApplied(t *testing.T) {
	t.Parallel()
	files := runtest.Dir(t.TempDir())
	s := testSession(t, files, nil)
	if err := files.WriteFile(t.Context(), "/var/lib/pai/revisions/applied", []byte(`{"kubernetes":1,"services":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	o := newOperation(s, rollback{}, RunOptions{})
	o.config.Revision = 3
	o.preview.Plan = plan.Plan{From: pai.Pair{Services: "v0.10", Kubernetes: "v0.9-pai"}, To: pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"}}
	o.preview.world.RecordedServices, o.preview.world.Current.Kubernetes = "v0.9", "v0.9-pai"
	if err := o.markApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := revision.Applied{revision.Kubernetes: 1, revision.Services: 1}
	if a, err := revision.NewStore(files).Applied(t.Context()); err != nil || !maps.Equal(a, want) {
		t.Errorf("got applied %v, %v; want %v", a, err, want)
	}
}
