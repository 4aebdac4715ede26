package session

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

// LocalClusterID is the ID of the cluster that paictl up makes on this host.
const LocalClusterID = "local"

// NewestRelease is the newest release that this paictl knows.
func NewestRelease() (release.Manifest, error) {
	known, err := release.Load(releases.FS)
	if err != nil {
		return release.Manifest{}, err
	}
	return known[len(known)-1], nil
}

// FindRelease finds a release by name.
func FindRelease(name string) (release.Manifest, error) {
	known, err := release.Load(releases.FS)
	if err != nil {
		return release.Manifest{}, err
	}
	var names []string
	for _, m := range known {
		if string(m.Metadata.Name) == pai.Canonical(name) {
			return m, nil
		}
		names = append(names, string(m.Metadata.Name))
	}
	return release.Manifest{}, pai.Errorf(pai.CodeUsage, fmt.Sprintf("use one of %v", names), "release %q not found", name)
}

// KnownToConfig is what the check of a configuration needs of the releases.
func KnownToConfig() ([]config.Release, error) {
	rows, err := release.Load(releases.FS)
	if err != nil {
		return nil, err
	}
	var known []config.Release
	for _, r := range rows {
		known = append(known, config.Release{
			Pair:            pai.Pair{Services: r.Services.Version, Kubernetes: r.Kubernetes.Version},
			CompatibleSince: r.Kubernetes.CompatibleSince, Schema: r.Configuration.Schema,
		})
	}
	return known, nil
}

// Manifest finds a release by name.
func (s *Session) Manifest(name pai.Release) (release.Manifest, error) {
	for _, m := range s.Releases {
		if m.Metadata.Name.Compare(name) == 0 {
			return m, nil
		}
	}
	return release.Manifest{}, pai.Errorf(pai.CodeUsage, "list the releases; run: paictl release list", "release %q not found", name)
}

// ManifestOf finds the release that carries a version of Kubernetes.
func (s *Session) ManifestOf(kubernetes pai.KubernetesVersion) (release.Manifest, error) {
	for _, m := range s.Releases {
		if m.Kubernetes.Version.Compare(kubernetes) == 0 {
			return m, nil
		}
	}
	return release.Manifest{}, pai.Errorf(pai.CodeRefused, "list the releases; run: paictl release list",
		"no release carries Kubernetes %s", kubernetes)
}

// Bundle opens the bundle of a release and checks its signature. The error
// wraps fs.ErrNotExist if this host has no bundle of the release.
func (s *Session) Bundle(name pai.Release) (*release.Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bundle(name)
}

// OptionalBundle is Bundle for content that is not required: nil if this host
// has no usable bundle of the release. An unusable bundle is reported once.
func (s *Session) OptionalBundle(name pai.Release) *release.Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bundle(name)
	if err == nil {
		return b
	}
	if !errors.Is(err, fs.ErrNotExist) && !s.unusable[name] {
		if s.unusable == nil {
			s.unusable = map[pai.Release]bool{}
		}
		s.unusable[name] = true
		s.Progressf("warning: ignoring the bundle of release %s: %v", name, err)
	}
	return nil
}

// withPins gives frozen releases the pins of their bundles, as far as this host
// has them. What a release without pins consists of is unknown.
func (s *Session) withPins(known []release.Manifest) []release.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range known {
		if !m.Frozen() {
			continue
		}
		if b, err := s.bundle(m.Metadata.Name); err == nil { // what needs the bundle reports the error
			known[i] = m.WithPins(b.Manifest())
		}
	}
	return known
}

// bundle needs mu.
func (s *Session) bundle(name pai.Release) (*release.Bundle, error) {
	if b := s.bundles[name]; b != nil {
		return b, nil
	}
	trusted, err := trustedKeys(s.Config.Services.Cluster.Common.TrustedBundleKeys)
	if err != nil {
		return nil, err
	}
	dir := s.Dirs.BundleDir(string(name))
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, pai.Errorf(pai.CodeFailed, fmt.Sprintf("build the bundle; run: paictl release build %s", name),
			"bundle of release %s not found in %s: %w", name, dir, fs.ErrNotExist)
	}
	b, err := release.Open(dir, trusted)
	if err != nil {
		return nil, err
	}
	// A signed bundle of another release could have programs with known faults.
	if found := b.Manifest().Metadata.Name; found != name {
		return nil, pai.Errorf(pai.CodeInvalid, fmt.Sprintf("remove the directory, and build or copy the bundle again; to build it, run: paictl release build %s", name),
			"the bundle in %s is of release %s, want %s", dir, found, name)
	}
	if s.bundles == nil {
		s.bundles = map[pai.Release]*release.Bundle{}
	}
	s.bundles[name] = b
	return b, nil
}

func trustedKeys(encoded []string) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, e := range encoded {
		key, err := release.DecodePublicKey(e)
		if err != nil {
			return nil, pai.Errorf(pai.CodeInvalid, "fix cluster.common.trusted-bundle-keys in services-configuration.yaml", "read trusted key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// EnsureBundle builds the bundle of a release if the cache has none that the
// operator's key signed, which needs the source tree.
func EnsureBundle(ctx context.Context, dirs Dirs, source, name string, progress func(string, ...any)) (ed25519.PublicKey, error) {
	keyFile := release.KeyFile(dirs.State)
	key, err := release.EnsureKey(keyFile)
	if err != nil {
		return nil, err
	}
	public := key.Public().(ed25519.PublicKey)
	if b, err := release.Open(dirs.BundleDir(name), []ed25519.PublicKey{public}); err == nil && string(b.Manifest().Metadata.Name) == name {
		return public, nil
	} else if source == "" {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("bundle of release %s not found in %s", name, dirs.BundleDir(name))
		}
		return nil, &pai.Error{Code: pai.CodeFailed, Err: err,
			Next: "run this in the PAI source tree, where bundles are built, or copy a bundle there that your key signed"}
	}
	_, err = release.Build(ctx, release.BuildOptions{Source: source, CacheDir: dirs.Cache, Release: name, Key: key, KeyFile: keyFile, Progress: progress})
	return public, err
}
