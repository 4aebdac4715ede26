package operation

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/releases"
	"pai.dev/pai/test/runtest"
	"pai.dev/pai/test/sessiontest"
)

// testSession is a session with one control-plane machine, gpu-01, which stores
// files and answers commands, and a configuration of v0.10.
func testSession(t *testing.T, files runtest.Dir, answer func(context.Context, machine.Command) (machine.Output, error)) *session.Session {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "config")
	err := config.Write(dir, config.New("lab", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"},
		[]config.Machine{{Hostname: "gpu-01", HostIP: "10.1.0.1", Role: config.RoleControlPlane}}, []string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}))
	if err != nil {
		t.Fatal(err)
	}
	s := &session.Session{Version: "v0.10", Dirs: session.Dirs{State: t.TempDir(), Cache: t.TempDir()}, Progressf: t.Logf,
		Hosts: map[string]machine.Host{"gpu-01": &sessiontest.Host{Hostname: "gpu-01", Files: files, Answer: answer}}}
	if s.Config, err = config.Load(dir); err == nil {
		s.Releases, err = release.Load(releases.FS)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
