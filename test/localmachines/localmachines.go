// Package localmachines gives a test local machines in a state directory of the test alone.
package localmachines

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pai.dev/pai/internal/nspawn"
)

// New returns local machines without any yet. The name of the state directory is fixed, so that
// what a killed run of the test left is found and removed. At the end of the test, the machines
// and the directory are removed, and checks are called in between.
func New(t *testing.T, name string, checks ...func(nspawn.Local)) nspawn.Local {
	t.Helper()
	cache := os.Getenv("PAI_CACHE_DIR")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(dir, "pai")
	}
	start := time.Now()
	l := nspawn.Local{
		StateDir: filepath.Join(os.TempDir(), "pai-test-machines", name),
		CacheDir: cache,
		Progress: func(format string, args ...any) {
			t.Logf("%5.1fs "+format, append([]any{time.Since(start).Seconds()}, args...)...)
		},
	}
	if err := os.MkdirAll(l.StateDir, 0o755); err != nil { // its real path, and so its mark, is that of the killed run
		t.Fatal(err)
	}
	if err := l.Down(t.Context()); err != nil {
		t.Fatalf("clear the remains of an earlier run: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := l.Down(ctx); err != nil {
			t.Errorf("down: %v", err)
		}
		for _, check := range checks {
			check(l)
		}
		os.RemoveAll(l.StateDir)
	})
	return l
}
