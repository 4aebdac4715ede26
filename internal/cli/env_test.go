package cli

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"
)

func TestEnvWithoutHomeAndTerminal(t *testing.T) {
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	stdin := os.Stdin
	os.Stdin = null
	t.Cleanup(func() { os.Stdin = stdin })
	for _, name := range []string{"HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "PAI_STATE_DIR"} {
		t.Setenv(name, "")
	}
	t.Setenv("PAI_CACHE_DIR", "/somewhere")
	env, err := DefaultEnv()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(u.HomeDir, ".local/state/pai"); env.StateDir != want || env.CacheDir != "/somewhere" {
		t.Errorf("state in %s, want %s; cache in %s", env.StateDir, want, env.CacheDir)
	}
	if os.Getenv("HOME") != u.HomeDir {
		t.Errorf("go, git, and ssh get HOME=%q", os.Getenv("HOME"))
	}
	if env.Interactive {
		t.Error("/dev/null counts as a terminal")
	}
}
