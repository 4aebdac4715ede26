package release

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"pai.dev/pai/internal/pai"
)

// EntryKind is what an Entry of a bundle is.
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
	Size    int64     `json:"size"`   // of all that belongs to it
}

// Bundle is everything that a release needs, in one folder, of which the
// signature and the small parts have been verified. The large ones are
// verified when they are read.
type Bundle struct {
	dir      string
	digest   string
	signer   string
	manifest Manifest
	entries  []Entry
	programs []v1.Descriptor
	images   map[string]bundleImage
	services fs.FS
	blobs    []namedBlob // every blob, each once
}

type bundleImage struct {
	ref        string
	descriptor v1.Descriptor // as index.json has it
	blobs      []v1.Descriptor
}

// namedBlob is a blob and what it belongs to.
type namedBlob struct {
	descriptor v1.Descriptor
	of         string
}

// maxSmall bounds what is read into memory: manifests and the services' archive.
const maxSmall = 64 << 20

// Open reads the bundle in dir. It refuses one that none of the trusted keys
// signed, or whose index, manifests or services are not what was signed.
func Open(dir string, trusted []ed25519.PublicKey) (*Bundle, error) {
	b, index, err := find(dir)
	if err != nil {
		return nil, err
	}
	if err := b.checkSignature(trusted); err != nil {
		return nil, err
	}
	if err := b.read(index); err != nil {
		return nil, notVerified(dir, err)
	}
	return b, nil
}

// find reads a bundle's index, of which nothing is believed yet.
func find(dir string) (*Bundle, []byte, error) {
	index, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil {
		return nil, nil, fmt.Errorf("open bundle: %w", err)
	}
	return &Bundle{dir: dir, digest: digestOf(index), images: map[string]bundleImage{}}, index, nil
}

// notVerified is the error for a bundle that is not what was signed.
func notVerified(dir string, err error) error {
	return &pai.Error{Code: pai.CodeRefused, Message: fmt.Sprintf("bundle %s does not verify", dir), Err: err,
		Next: "take the bundle again from where it came from, or build it again: paictl release build"}
}

// read takes in what the signed index lists.
func (b *Bundle) read(data []byte) error {
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read %s: %w", indexFile, err)
	}
	for _, d := range index.Manifests {
		if err := b.readManifest(d); err != nil {
			return err
		}
	}
	return b.checkAgainstManifest()
}

func (b *Bundle) readManifest(d v1.Descriptor) error {
	name := d.Annotations[annotationTitle]
	if ref := d.Annotations[annotationContainerdName]; ref != "" {
		name = ref
	}
	b.blobs = append(b.blobs, namedBlob{d, "manifest of " + name})
	data, err := b.small(d)
	if err != nil {
		return fmt.Errorf("manifest of %s: %w", name, err)
	}
	m, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("manifest of %s: %w", name, err)
	}
	b.blobs = append(b.blobs, namedBlob{m.Config, "config of " + name})
	for _, l := range m.Layers {
		of := name
		if n := l.Annotations[annotationName]; n != "" {
			of = "program " + n
		}
		b.blobs = append(b.blobs, namedBlob{l, of})
	}
	return b.take(d, m)
}

// take records one manifest by what it is.
func (b *Bundle) take(d v1.Descriptor, m *v1.Manifest) error {
	switch m.ArtifactType {
	case typePrograms:
		for _, l := range m.Layers {
			b.programs = append(b.programs, l)
			b.entries = append(b.entries, Entry{KindProgram, l.Annotations[annotationName], l.Annotations[annotationVersion], l.Digest.String(), l.Size})
		}
		return nil
	case typeRelease, typeServices:
		return b.takeSmall(m)
	case "":
		return b.takeImage(d, m)
	default:
		return fmt.Errorf("%s holds artifacts of type %q, which this paictl does not know", indexFile, m.ArtifactType)
	}
}

func (b *Bundle) takeSmall(m *v1.Manifest) error {
	if len(m.Layers) != 1 {
		return fmt.Errorf("%s has %d parts, not one", m.ArtifactType, len(m.Layers))
	}
	l := m.Layers[0]
	data, err := b.small(l)
	if err != nil {
		return err
	}
	if m.ArtifactType == typeServices {
		b.services, err = zip.NewReader(bytes.NewReader(data), int64(len(data)))
		b.entries = append(b.entries, Entry{KindServices, "services", "", l.Digest.String(), l.Size})
		return err
	}
	b.manifest, err = parseManifest(data)
	b.entries = append(b.entries, Entry{KindRelease, b.manifest.Metadata.Name, b.manifest.Metadata.Name, l.Digest.String(), l.Size})
	return err
}

func (b *Bundle) takeImage(d v1.Descriptor, m *v1.Manifest) error {
	name := d.Annotations[annotationName]
	if _, ok := b.images[name]; name == "" || ok {
		return fmt.Errorf("%s lists image %q twice or without a name", indexFile, name)
	}
	img := bundleImage{ref: d.Annotations[annotationContainerdName], descriptor: d, blobs: append([]v1.Descriptor{d, m.Config}, m.Layers...)}
	size := int64(0)
	for _, blob := range img.blobs {
		size += blob.Size
	}
	b.images[name] = img
	b.entries = append(b.entries, Entry{KindImage, name, d.Annotations[annotationVersion], d.Digest.String(), size})
	return nil
}

// checkAgainstManifest makes sure that the bundle has what its release pins.
func (b *Bundle) checkAgainstManifest() error {
	if b.manifest.Metadata.Name == "" || b.services == nil {
		return errors.New("it has no release manifest, or no services")
	}
	have := map[string]string{}
	for _, e := range b.entries {
		have[string(e.Kind)+" "+e.Name] = e.Version
	}
	var problems []error
	want := func(kind EntryKind, name, version string) {
		if got, ok := have[string(kind)+" "+name]; !ok || got != version {
			problems = append(problems, fmt.Errorf("%s %s %s is missing", kind, name, version))
		}
	}
	for _, p := range b.manifest.Programs {
		want(KindProgram, p.Name, p.Version)
	}
	for _, i := range b.manifest.Images {
		want(KindImage, i.Name, i.Version)
		if got := b.images[i.Name].ref; got != i.Ref() {
			problems = append(problems, fmt.Errorf("image %s is named %q", i.Ref(), got))
		}
	}
	for _, s := range b.manifest.ServiceList {
		if _, err := fs.Stat(b.services, s.Name+"/service.yaml"); err != nil {
			problems = append(problems, fmt.Errorf("service %s is missing", s.Name))
		}
	}
	return errors.Join(problems...)
}

// small reads a blob into memory and verifies it.
func (b *Bundle) small(d v1.Descriptor) ([]byte, error) {
	if d.Size > maxSmall {
		return nil, fmt.Errorf("blob %s is too large: %d bytes", d.Digest, d.Size)
	}
	var out bytes.Buffer
	err := b.copyBlob(&out, d)
	return out.Bytes(), err
}

// copyBlob writes a blob and verifies size and digest of what was written.
func (b *Bundle) copyBlob(w io.Writer, d v1.Descriptor) error {
	if d.Digest.Algorithm != "sha256" {
		return fmt.Errorf("blob %s: only sha256 is known", d.Digest)
	}
	f, err := os.Open(blobPath(b.dir, d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s is missing", d.Digest)
	}
	if err != nil {
		return fmt.Errorf("read blob: %w", err)
	}
	defer f.Close()
	dig := newDigester(w)
	// One byte more than expected is enough to see that it is too long.
	if _, err := io.Copy(dig, io.LimitReader(f, d.Size+1)); err != nil {
		return fmt.Errorf("read blob %s: %w", d.Digest, err)
	}
	return dig.matches(d)
}

// matches compares what went through with what it should have been.
func (d *digester) matches(want v1.Descriptor) error {
	if d.size != want.Size {
		return fmt.Errorf("blob %s has not the size of %d bytes that it should have", want.Digest, want.Size)
	}
	if got := d.digest(); got != want.Digest.String() {
		return fmt.Errorf("blob %s has other content: its digest is %s", want.Digest, got)
	}
	return nil
}

// Digest is the digest of the bundle's index, which is what is signed.
func (b *Bundle) Digest() string { return b.digest }

// Signer is the public key, as configurations have it, of whoever signed the bundle.
func (b *Bundle) Signer() string { return b.signer }

// Manifest is that of the bundle's release.
func (b *Bundle) Manifest() Manifest { return b.manifest }

// Contents lists everything in the bundle.
func (b *Bundle) Contents() []Entry { return append([]Entry(nil), b.entries...) }

// Services has, per service, <service>/service.yaml and what else belongs to
// it; a chart is in <service>/chart.
func (b *Bundle) Services() fs.FS { return b.services }

// ImageNames are the names of the images, as release.yaml has them, in its order.
func (b *Bundle) ImageNames() []string {
	var names []string
	for _, i := range b.manifest.Images {
		names = append(names, i.Name)
	}
	return names
}

// Image is the full name of an image: "kueue" is "pai.local/kueue:v0.14.0".
// It is empty for an image that the bundle lacks.
func (b *Bundle) Image(name string) string { return b.images[name].ref }
