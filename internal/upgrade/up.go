package upgrade

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/releases"
)

// LocalClusterID is the id of the cluster that up makes on this host.
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
		if m.Metadata.Name == name {
			return m, nil
		}
		names = append(names, m.Metadata.Name)
	}
	return release.Manifest{}, pai.Errorf(pai.CodeUsage, fmt.Sprintf("there are %v", names), "there is no release %q", name)
}

// EnsureBundle builds a release's bundle when the cache has none that the
// operator's own key signed. It needs the source tree then.
func EnsureBundle(ctx context.Context, dirs Dirs, source, name string, progress func(string, ...any)) (ed25519.PublicKey, error) {
	key, err := release.EnsureKey(release.KeyFile(dirs.State))
	if err != nil {
		return nil, err
	}
	public := key.Public().(ed25519.PublicKey)
	if b, err := release.Open(dirs.BundleDir(name), []ed25519.PublicKey{public}); err == nil && b.Manifest().Metadata.Name == name {
		return public, nil
	} else if source == "" {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no bundle of release %s in %s", name, dirs.BundleDir(name))
		}
		return nil, &pai.Error{Code: pai.CodeFailed, Err: err,
			Next: "run this in PAI's source tree, where bundles are built, or put a bundle there that your key signed"}
	}
	_, err = release.Build(ctx, release.BuildOptions{Source: source, CacheDir: dirs.Cache, Release: name, Key: key, Progress: progress})
	return public, err
}
