package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"

	"pai.dev/pai/internal/cli/ui"
)

// The scripts run paictl in this process, with their own state and cache
// directories and a source tree that builds within seconds.
func TestReleaseScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/release",
		Setup: func(e *testscript.Env) error {
			// go build needs its caches, which are shared.
			for _, name := range []string{"HOME", "GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOSUMDB"} {
				if v, ok := os.LookupEnv(name); ok {
					e.Setenv(name, v)
				}
			}
			archive, err := txtar.ParseFile("../release/testdata/source.txtar")
			if err != nil {
				return err
			}
			return txtar.Write(archive, filepath.Join(e.WorkDir, "source"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"paictl": scriptPaictl},
	})
}

// scriptPaictl is `paictl ARG...`, and `! paictl ARG...` for one that fails.
func scriptPaictl(ts *testscript.TestScript, neg bool, args []string) {
	env := &Env{Console: ui.Console{Out: ts.Stdout(), Err: ts.Stderr()}, In: os.Stdin, StateDir: ts.MkAbs("state"), CacheDir: ts.MkAbs("cache")}
	code := Main(context.Background(), env, args)
	if neg != (code != 0) {
		ts.Fatalf("paictl %v ended with %d", args, code)
	}
}
