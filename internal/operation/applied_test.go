package operation

import (
	"maps"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run/runtest"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/internal/session/sessiontest"
)

// What an operation says of the configuration before it begins, and leaves
// behind when it has ended.
func TestOperationsApplyRevisions(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "config")
	c := config.New("lab", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"},
		[]config.Machine{{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: config.RoleControlPlane}}, []string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})
	if err := config.Write(dir, c); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := runtest.Dir(t.TempDir())
	store := revision.NewStore(files)
	s := newOperation(&session.Session{Config: cfg, Progressf: t.Logf, Hosts: map[string]machine.Host{"gpu-01": &sessiontest.Host{Files: files}}})
	p := plan.Plan{From: pai.Pair{Services: "v0.9", Kubernetes: "v0.10-pai"}, To: pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}}
	for _, try := range []struct {
		goal     Goal
		revision int
		applied  revision.Applied
	}{
		{Goal{Verb: pai.VerbClean}, 0, revision.Applied{}},
		{Goal{Verb: pai.VerbBoot, applies: appliesAll(revision.Kubernetes)}, 1, revision.Applied{revision.Kubernetes: 1}},
		{Goal{Verb: pai.VerbStartServices, applies: appliesAllUnless([]string{"kueue"}, revision.Services)}, 1, revision.Applied{revision.Kubernetes: 1}},
		{Goal{Verb: pai.VerbStartServices, applies: appliesAllUnless(nil, revision.Services)}, 1, revision.Applied{revision.Kubernetes: 1, revision.Services: 1}},
		{Goal{Verb: pai.VerbRollback, applies: upgradedParts}, 1, revision.Applied{revision.Kubernetes: 1}},
		{Goal{Verb: pai.VerbUpgrade, applies: upgradedParts}, 1, revision.Applied{revision.Kubernetes: 1, revision.Services: 1}},
	} {
		if err := s.applyRevision(t.Context(), try.goal); err != nil || s.config.Revision != try.revision {
			t.Errorf("%s: revision %d, %v", try.goal.Verb, s.config.Revision, err)
		}
		if err := s.markApplied(t.Context(), try.goal, p); err != nil {
			t.Error(err)
		}
		if a, err := store.Applied(t.Context()); err != nil || !maps.Equal(a, try.applied) {
			t.Errorf("%s: applied %v, %v; want %v", try.goal.Verb, a, err, try.applied)
		}
	}
}
