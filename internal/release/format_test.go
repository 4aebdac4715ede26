package release

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"pai.dev/pai/internal/pai"
)

// futureBundle is a bundle of a release of a later paictl: its manifest has keys,
// and its index has an artifact, that this paictl does not have.
func futureBundle(t *testing.T, manifest string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "future")
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	w := &writer{path: layout.Path(dir), index: v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}}
	blob, err := w.blob([]byte(manifest), typeYAML)
	if err != nil {
		t.Fatal(err)
	}
	moons, err := w.blob([]byte("full, new"), "text/plain")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.artifact("application/vnd.pai.moons.v1", "moons", moons), w.artifact(typeRelease, ManifestFile, blob, moons)); err != nil {
		t.Fatal(err)
	}
	digest, err := w.finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(dir, digest, fixtureKey('k')); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBundleOfNewerFormatIsRefusedInASentence(t *testing.T) {
	t.Parallel()
	const manifest = "apiVersion: pai.dev/v2\nmetadata: {name: v0.14, moon: full}\nbundleFormat: 9\nphases: [1, 2]\nprograms: {none: 1}\n"
	dir := futureBundle(t, manifest)
	_, openErr := Open(dir, public(fixtureKey('k')))
	_, importErr := Import(context.Background(), importOptions(dir, t.TempDir()))
	for what, err := range map[string]error{"Open": openErr, "Import": importErr} {
		if err == nil || err.Error() != "bundle "+dir+": release v0.14 has bundle format 9, but this paictl reads formats 1 to 2" {
			t.Errorf("%s: got %v, want the format that the bundle has and those that this paictl reads", what, err)
		}
		if pai.CodeOf(err) != pai.CodeRefused || pai.NextOf(err) != "use paictl v0.14 or newer" {
			t.Errorf("%s: got code %s and next step %q", what, pai.CodeOf(err), pai.NextOf(err))
		}
	}
	// A signature comes first: nothing of an untrusted bundle is printed as fact.
	if _, err := Open(dir, public(fixtureKey('x'))); err == nil || !strings.Contains(err.Error(), "untrusted key") {
		t.Errorf("got %v, want that the key is not trusted", err)
	}
	// The same in an archive, and in the name of a release a terminal's text.
	dir = futureBundle(t, strings.Replace(manifest, "v0.14", `"\e[2J"`, 1))
	if _, err := Open(dir, public(fixtureKey('k'))); err == nil || !strings.Contains(err.Error(), "has bundle format 9") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %q, want the format and no control characters", err)
	}
}

func TestFormatOfManifest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line string
		want int
		err  string
	}{
		{"", 1, ""},
		{"bundleFormat: 1\n", 1, ""},
		{"bundleFormat: 2\n", 2, ""},
		{"bundleFormat: 3\n", 0, "has bundle format 3"},
		{"bundleFormat: -1\n", 0, "not a positive number"},
		{"bundleFormat: two\n", 0, "cannot unmarshal"},
		{"moon: full\n", 0, "field moon not found"}, // of a known format it is a mistake
	} {
		m, err := parseManifest([]byte(pinnedManifest + c.line))
		switch {
		case c.err == "" && (err != nil || m.Format() != c.want):
			t.Errorf("%q: got format %d, %v; want %d", c.line, m.Format(), err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: got %v, want an error with %q", c.line, err, c.err)
		}
	}
}

// The bundle of commit c82e023 has format 1, and an archive of it.
func TestOldBundleHasFormatOne(t *testing.T) {
	t.Parallel()
	if got := openFixture(t, oldBundle).Manifest().Format(); got != 1 {
		t.Errorf("got format %d, want 1", got)
	}
	if bytes.Contains(oldArchive(t), []byte("bundleFormat")) {
		t.Error("the bundle of commit c82e023 names a format")
	}
}
