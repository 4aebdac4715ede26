package configsync

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// The step migrates the schema and the versions, and keeps the previous files.
func TestConfigurationStep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "config")
	old := config.New("lab", pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"},
		[]config.Machine{{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: config.RoleControlPlane}},
		[]string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})
	old.Layout.SchemaVersion = 1
	if err := config.Write(dir, old); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var said string
	store := runtest.Dir(t.TempDir())
	s := &session.Session{Config: cfg, Progressf: func(format string, _ ...any) { said += format }, Hosts: map[string]machine.Host{"gpu-01": &sessiontest.Host{Files: store}}}
	doer, step := &Step{Session: s}, plan.Step{Kind: plan.KindConfiguration, Target: "schema 2", Schema: 2}
	if err := doer.Push(t.Context(), "k8s-bootup"); err != nil {
		t.Fatal(err)
	}
	to := pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}
	if err := doer.Migrate(to, "v0.10"); err != nil {
		t.Fatal(err)
	}
	if done, err := doer.Done(t.Context(), step); done || err != nil {
		t.Fatalf("done before it started: %v, %v", done, err)
	}
	if err := doer.Do(t.Context(), step); err != nil {
		t.Fatal(err)
	}
	if done, err := doer.Done(t.Context(), step); !done || err != nil {
		t.Errorf("not done: %v, %v", done, err)
	}
	now, err := config.Load(dir)
	if err != nil || now.Pair() != to || now.Layout.SchemaVersion != 2 || s.Config.Pair() != to {
		t.Errorf("%v, %v, the session has %v", now, err, s.Config.Pair())
	}
	if err := doer.SetVersions(pai.Pair{Kubernetes: to.Kubernetes}); err != nil || s.Config.Pair() != to {
		t.Errorf("unknown services: got %v, %v, want that they stay", s.Config.Pair(), err)
	}
	kept, err := os.ReadFile(dir + ".former-1/services-configuration.yaml")
	if err != nil || !strings.Contains(string(kept), "release: v0.9\n") || said == "" {
		t.Errorf("%v, kept:\n%s", err, kept)
	}
	if newest, err := revision.NewStore(store).Newest(t.Context()); err != nil || newest.Number != 2 || doer.Revision != 2 || newest.Files[config.LayoutFile] == nil {
		t.Errorf("the newest revision is %v, %v", newest.Info, err)
	}
	// A configuration that is of the schema already gets the versions alone.
	if err := doer.Migrate(pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}, "v0.10"); err != nil {
		t.Fatal(err)
	}
	if now, err := config.Load(dir); err != nil || now.Pair().Services != "v0.11" {
		t.Errorf("%v, %v", now, err)
	}
}
