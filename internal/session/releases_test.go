package session

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// The bundle of a frozen release says what the release consists of.
func TestFrozenReleasesHaveThePinsOfTheirBundles(t *testing.T) {
	t.Parallel()
	row := release.Manifest{Commit: "c82e023"}
	row.Metadata.Name, row.Services.Version = "v0.1", "v0.1"
	row.Kubernetes.Version, row.Kubernetes.Upstream, row.Configuration.Schema = "v0.1-pai", "v1.35.0", 2
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize))).Public().(ed25519.PublicKey)
	for _, c := range []struct {
		name          string
		bundle, trust bool
	}{{"no bundle", false, true}, {"an untrusted bundle", true, false}, {"a bundle", true, true}} {
		s := &Session{Config: &config.Config{}, Dirs: Dirs{Cache: t.TempDir()}, Progressf: t.Logf}
		if c.trust {
			s.Config.Services.Cluster.Common.TrustedBundleKeys = []string{release.EncodePublicKey(key)}
		}
		if c.bundle {
			if err := os.CopyFS(filepath.Join(s.Dirs.Cache, "bundles/v0.1"), os.DirFS("../release/testdata/bundle-c82e023")); err != nil {
				t.Fatal(err)
			}
		}
		got := s.withPins([]release.Manifest{row})
		if got[0].HasPins() != (c.bundle && c.trust) || got[0].Metadata.Name != pai.Release("v0.1") {
			t.Errorf("%s: got %+v", c.name, got[0])
		}
	}
}

// A signed bundle counts only under the name of its release.
func TestBundleOfAnotherReleaseIsRefused(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize))).Public().(ed25519.PublicKey)
	s := &Session{Config: &config.Config{}, Dirs: Dirs{Cache: t.TempDir()}, Progressf: t.Logf}
	s.Config.Services.Cluster.Common.TrustedBundleKeys = []string{release.EncodePublicKey(key)}
	for _, name := range []string{"v0.1", "v0.2"} {
		if err := os.CopyFS(s.Dirs.BundleDir(name), os.DirFS("../release/testdata/bundle-c82e023")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Bundle("v0.1"); err != nil {
		t.Errorf("under its name: %v", err)
	}
	if b, err := s.Bundle("v0.2"); pai.CodeOf(err) != pai.CodeInvalid || b != nil || !strings.Contains(err.Error(), "is of release v0.1, want v0.2") {
		t.Errorf("under another name: got %v, %v, want a refusal", b, err)
	}
}

// Every release's schema is one that this paictl has, and never falls.
func TestReleasesHaveSchemas(t *testing.T) {
	t.Parallel()
	known, err := KnownToConfig()
	if err != nil {
		t.Fatal(err)
	}
	last := config.OldestSchema
	for _, r := range known {
		if r.Schema < last || r.Schema > config.Schema {
			t.Errorf("release %s has schema %d after %d", r.Pair.Services, r.Schema, last)
		}
		last = r.Schema
	}
	if last != config.Schema {
		t.Errorf("the newest release has schema %d, this paictl writes %d", last, config.Schema)
	}
}
