package release

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// sourceFixture unpacks the small source tree into a temporary directory.
func sourceFixture(t *testing.T) string {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/source.txtar")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, f := range archive.Files {
		replaceFile(t, filepath.Join(dir, f.Name), string(f.Data))
	}
	return dir
}

func replaceFile(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// builtOnce is a cache with the fixture's bundle, built by the first test that
// asks for it and removed when all have ended.
var builtOnce = struct {
	sync.Mutex
	cache string
}{}

func TestMain(m *testing.M) {
	if arguments := os.Getenv(killDuringImport); arguments != "" {
		importAndHang(arguments)
	}
	code := m.Run()
	if builtOnce.cache != "" {
		os.RemoveAll(builtOnce.cache)
	}
	os.Exit(code)
}

// fixtureBundle is a copy of the fixture's bundle that the test may spoil.
func fixtureBundle(t *testing.T) string {
	t.Helper()
	builtOnce.Lock()
	defer builtOnce.Unlock()
	if builtOnce.cache == "" {
		cache, err := os.MkdirTemp("", "pai-release-test-*")
		if err != nil {
			t.Fatal(err)
		}
		fixtureBuild(t, sourceFixture(t), cache)
		builtOnce.cache = cache
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := os.CopyFS(dir, os.DirFS(BundleDir(builtOnce.cache, "v0.1"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fixtureKey is a key that is always the same.
func fixtureKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
}

func public(key ed25519.PrivateKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
}

// fixtureBuild builds release v0.1 and returns the directory of the bundle and the output.
func fixtureBuild(t *testing.T, source, cache string) (dir, said string) {
	t.Helper()
	var log strings.Builder
	built, err := Build(context.Background(), fixtureOptions(source, cache, &log))
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return built.Dir, log.String()
}

func fixtureOptions(source, cache string, log *strings.Builder) BuildOptions {
	return BuildOptions{Source: source, CacheDir: cache, Release: "v0.1", Key: fixtureKey('k'),
		Progress: func(format string, args ...any) { writeLine(log, format, args...) }}
}

func openFixture(t *testing.T, dir string) *Bundle {
	t.Helper()
	b, err := Open(dir, public(fixtureKey('k')))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return b
}
