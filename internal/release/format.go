package release

import (
	"bytes"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
)

// The formats of bundles that this paictl reads. A format is the version of the
// contract between a bundle and paictl, which docs/bundle.md describes.
const (
	oldestFormat = 1 // the bundles of commit c82e023, which do not name a format
	newestFormat = 2 // release.yaml can have bundleFormat
)

// Format is the format of the bundle of the release.
func (m Manifest) Format() int {
	if m.BundleFormat == 0 {
		return oldestFormat
	}
	return m.BundleFormat
}

// manifestHead is what a release manifest has in every format. Readers of any
// format can read it in a manifest of any other.
type manifestHead struct {
	Metadata     Metadata `yaml:"metadata"`
	BundleFormat int      `yaml:"bundleFormat"`
}

// checkFormat refuses a manifest of a newer format, before anything in it is
// treated as a mistake.
func checkFormat(data []byte) error {
	var head manifestHead
	if yaml.Unmarshal(data, &head) != nil || head.BundleFormat <= newestFormat {
		return nil //nolint:nilerr // the strict reader reports what is wrong
	}
	name := string(head.Metadata.Name)
	if err := pai.CheckVersion(name); err != nil {
		name = fmt.Sprintf("%q", name)
	}
	return pai.Errorf(pai.CodeRefused, fmt.Sprintf("use paictl %s or newer", name),
		"release %s has bundle format %d, but this paictl reads formats %d to %d", name, head.BundleFormat, oldestFormat, newestFormat)
}

// checkFormat finds the release manifest in an index of any format and refuses a
// newer one. What else is wrong is reported when the index is read.
func (b *Bundle) checkFormat(data []byte) error {
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	for _, d := range index.Manifests {
		if d.ArtifactType != typeRelease {
			continue
		}
		data, err := b.readSmall(d)
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		m, err := v1.ParseManifest(bytes.NewReader(data))
		if err != nil || len(m.Layers) == 0 {
			return nil //nolint:nilerr // see above
		}
		if data, err = b.readSmall(m.Layers[0]); err != nil {
			return nil //nolint:nilerr // see above
		}
		if err := checkFormat(data); err != nil {
			return fmt.Errorf("bundle %s: %w", b.dir, err)
		}
	}
	return nil
}
