package release

import (
	"io/fs"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// EntryKind is the kind of an Entry.
type EntryKind string

// The kinds of entries.
const (
	KindRelease  EntryKind = "release"
	KindProgram  EntryKind = "program"
	KindImage    EntryKind = "image"
	KindServices EntryKind = "services"
)

// Entry is one thing in a bundle.
type Entry struct {
	Kind    EntryKind `json:"kind"`
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Digest  string    `json:"digest"` // of a program set's layer, an image's manifest, the services' archive, the release's manifest
	Size    int64     `json:"size"`   // of all blobs of the entry
}

// Bundle is everything that a release needs, in one directory or one archive.
// Open has verified the signature and the small parts; the large parts are
// verified when they are read.
type Bundle struct {
	dir      string // or the archive
	files    store
	digest   string
	signer   string
	manifest Manifest
	notes    *Notes
	entries  []Entry
	programs []v1.Descriptor
	images   map[string]bundleImage
	services fs.FS
	blobs    []namedBlob

	digesting      sync.Mutex // guards programDigests
	programDigests map[string]string
}

type bundleImage struct {
	ref        string
	descriptor v1.Descriptor // as index.json has it
	blobs      []v1.Descriptor
}

// namedBlob is a blob and the name of the entry that it belongs to.
type namedBlob struct {
	descriptor v1.Descriptor
	of         string
}

// Digest is the digest of the bundle's index. The signature is over it.
func (b *Bundle) Digest() string { return b.digest }

// Signer is the trusted public key that signed the bundle, as configurations
// have it.
func (b *Bundle) Signer() string { return b.signer }

// Manifest is the manifest of the bundle's release.
func (b *Bundle) Manifest() Manifest { return b.manifest }

// Notes are the notes of the release; nil if the bundle has none.
func (b *Bundle) Notes() *Notes { return b.notes }

// Contents lists everything in the bundle.
func (b *Bundle) Contents() []Entry { return slices.Clone(b.entries) }

// Services has, per service, <service>/service.yaml and its other files; a
// chart is in <service>/chart.
func (b *Bundle) Services() fs.FS { return b.services }

// ImageNames are the names of the images in release.yaml, in its order.
func (b *Bundle) ImageNames() []string {
	var names []string
	for _, i := range b.manifest.Images {
		names = append(names, i.Name)
	}
	return names
}

// Image is the full name of an image, such as "pai.local/kueue:v0.14.0" for
// "kueue". It is empty if the bundle does not have the image.
func (b *Bundle) Image(name string) string { return b.images[name].ref }
