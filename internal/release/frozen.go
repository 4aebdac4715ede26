package release

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/filelock"
	"pai.dev/pai/internal/pai"
)

// A frozen release is what one commit makes of it: its bundle is built from the
// sources of that commit, with the paictl of that commit. So a newer source tree
// can change, and the release stays what operators have.

// buildFrozen makes the bundle of a frozen release, unless the cache has what the
// commit builds. A lock makes a second builder wait.
func (b *builder) buildFrozen(ctx context.Context, m Manifest) (Built, error) {
	if b.KeyFile == "" {
		return Built{}, errors.New("the build of a frozen release needs the file of the signing key")
	}
	older := olderPaictl{m.Commit, filepath.Dir(FrozenPaictl(b.CacheDir, m.Commit))}
	built := Built{Dir: BundleDir(b.CacheDir, b.Release), Paictl: older.program()}
	unlock, err := filelock.Lock(ctx, filepath.Join(filepath.Dir(older.dir), "."+m.Commit+".lock"), func() {
		b.Progress("waiting for another build of commit %s", m.Commit)
	})
	if err != nil {
		return Built{}, err
	}
	defer unlock()
	bundle, program := b.hasFrozen(ctx, m), older.intact()
	if bundle && program {
		return built, errors.Join(b.ensureSigned(built.Dir), removeWork(filepath.Dir(older.dir), m.Commit))
	}
	work, err := workDir(filepath.Dir(older.dir), m.Commit)
	if err != nil {
		return Built{}, fmt.Errorf("make directory in cache: %w", err)
	}
	defer os.RemoveAll(work)
	source := filepath.Join(work, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return Built{}, fmt.Errorf("make directory in cache: %w", err)
	}
	b.Progress("release %s is frozen: reading the sources of commit %s", b.Release, m.Commit)
	if err := (history{b.Source}).extract(ctx, m.Commit, source); err != nil {
		return Built{}, fmt.Errorf("build release %s, which is frozen: %w", b.Release, err)
	}
	if !program {
		b.Progress("release %s: compiling paictl (commit %s)", b.Release, m.Commit)
		g, err := b.goTool(false)
		if err != nil {
			return Built{}, err
		}
		if err := older.compile(ctx, g, source, work); err != nil {
			return Built{}, err
		}
	}
	if bundle {
		return built, b.ensureSigned(built.Dir)
	}
	digest, err := older.build(ctx, b.BuildOptions, source)
	if err != nil {
		return Built{}, err
	}
	if err := b.checkFrozen(m, digest); err != nil {
		return Built{}, err
	}
	b.Progress("release %s: built from commit %s in %s", b.Release, m.Commit, time.Since(b.start).Round(time.Second))
	return built, atomicfile.Write(b.frozenFile(), []byte(m.Commit+" "+digest+"\n"), 0o644)
}

// frozenFile records the commit and the digest of the bundle of a frozen release.
func (b *builder) frozenFile() string {
	return filepath.Join(b.CacheDir, "bundles", "."+b.Release+".commit")
}

// hasFrozen reports whether the cache has the bundle that the commit built, and
// the bundle verifies. Another tree can have replaced it with its own build.
func (b *builder) hasFrozen(ctx context.Context, m Manifest) bool {
	recorded, err := os.ReadFile(b.frozenFile())
	if err != nil {
		return false
	}
	bundle, index, err := openUnverified(BundleDir(b.CacheDir, b.Release))
	if err != nil || strings.TrimSpace(string(recorded)) != m.Commit+" "+bundle.Digest() {
		return false
	}
	return bundle.readIndex(index) == nil && bundle.Verify(ctx) == nil
}

// checkFrozen compares a bundle with what its build reported and with the row of
// the support plan.
func (b *builder) checkFrozen(m Manifest, digest string) error {
	bundle, err := Open(BundleDir(b.CacheDir, b.Release), []ed25519.PublicKey{b.Key.Public().(ed25519.PublicKey)})
	if err != nil {
		return fmt.Errorf("open the bundle that commit %s built: %w", m.Commit, err)
	}
	if bundle.Digest() != digest {
		return fmt.Errorf("bundle %s was replaced during its build: it has digest %s, commit %s built %s", bundle.dir, bundle.Digest(), m.Commit, digest)
	}
	if got := bundle.Manifest(); !sameVersions(got, m) {
		return pai.Errorf(pai.CodeInvalid, fmt.Sprintf("name the commit that builds release %s in releases/%s/release.yaml", b.Release, b.Release),
			"commit %s builds release %s with services %s, Kubernetes %s (%s), and configuration schema %d; want %s, %s (%s), and %d",
			m.Commit, got.Metadata.Name, got.Services.Version, got.Kubernetes.Version, got.Kubernetes.Upstream, got.Configuration.Schema,
			m.Services.Version, m.Kubernetes.Version, m.Kubernetes.Upstream, m.Configuration.Schema)
	}
	return nil
}

// sameVersions reports whether two manifests are of one release with the same
// versions. A newer source tree can have another row of the support plan.
func sameVersions(a, b Manifest) bool {
	return a.Metadata.Name == b.Metadata.Name && a.Services.Version == b.Services.Version &&
		a.Kubernetes.Version == b.Kubernetes.Version && a.Kubernetes.Upstream == b.Kubernetes.Upstream &&
		a.Configuration == b.Configuration
}

// WithPins returns the manifest of a frozen release with the pins of its bundle,
// and any other manifest unchanged. It keeps the row of the support plan: that of
// this source tree is newer than that of the bundle.
func (m Manifest) WithPins(bundle Manifest) Manifest {
	if m.Frozen() && sameVersions(m, bundle) {
		m.Programs, m.Images, m.ServiceList = bundle.Programs, bundle.Images, bundle.ServiceList
	}
	return m
}
