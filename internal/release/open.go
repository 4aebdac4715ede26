package release

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"pai.dev/pai/internal/pai"
)

// Open reads the bundle in dir. It refuses a bundle that no trusted key signed,
// or whose index, manifests, or services differ from what was signed.
func Open(dir string, trusted []ed25519.PublicKey) (*Bundle, error) {
	return open(dir, dirStore(dir), trusted)
}

// OpenArchive reads the bundle in an archive file, like Open. It unpacks nothing.
func OpenArchive(file string, trusted []ed25519.PublicKey) (*Bundle, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, fmt.Errorf("open archive %s: %w", file, err)
	}
	files, err := scanArchive(f, info.Size())
	if err != nil {
		return nil, notVerified(file, err)
	}
	return open(file, archiveStore{file, files}, trusted)
}

func open(name string, files store, trusted []ed25519.PublicKey) (*Bundle, error) {
	b, index, err := openStore(name, files)
	if err != nil {
		return nil, err
	}
	if err := b.checkSignature(trusted); err != nil {
		return nil, err
	}
	if err := b.checkFormat(index); err != nil {
		return nil, err
	}
	if err := b.readIndex(index); err != nil {
		return nil, notVerified(name, err)
	}
	return b, nil
}

// openUnverified reads a bundle's index. Nothing of it is trusted yet.
func openUnverified(dir string) (*Bundle, []byte, error) {
	return openStore(dir, dirStore(dir))
}

func openStore(name string, files store) (*Bundle, []byte, error) {
	index, err := readAll(files, indexFile, maxSmall)
	if err != nil {
		return nil, nil, fmt.Errorf("open bundle: %w", err)
	}
	return &Bundle{dir: name, files: files, digest: digestOf(index), images: map[string]bundleImage{}}, index, nil
}

// notVerified is the error for a bundle that differs from what was signed.
func notVerified(dir string, err error) error {
	return &pai.Error{Code: pai.CodeRefused, Message: fmt.Sprintf("bundle %s does not verify", dir), Err: err,
		Next: "copy the bundle again from its origin, or build it again; run: paictl release build"}
}

// readIndex reads everything that the signed index lists.
func (b *Bundle) readIndex(data []byte) error {
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read %s: %w", indexFile, err)
	}
	for _, d := range index.Manifests {
		name := d.Annotations[annotationTitle]
		if ref := d.Annotations[annotationContainerdName]; ref != "" {
			name = ref
		}
		m, err := b.readManifest(d, name)
		if err != nil {
			return fmt.Errorf("manifest of %s: %w", name, err)
		}
		if err := b.add(d, m); err != nil {
			return err
		}
	}
	return b.checkAgainstManifest()
}

// readManifest reads one manifest and records the blobs that it lists.
func (b *Bundle) readManifest(d v1.Descriptor, name string) (*v1.Manifest, error) {
	b.blobs = append(b.blobs, namedBlob{d, "manifest of " + name})
	data, err := b.readSmall(d)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	b.blobs = append(b.blobs, namedBlob{m.Config, "config of " + name})
	for _, l := range m.Layers {
		of := name
		if n := l.Annotations[annotationName]; n != "" {
			of = "program " + n
		}
		b.blobs = append(b.blobs, namedBlob{l, of})
	}
	return m, nil
}

// add records the entries of one manifest.
func (b *Bundle) add(d v1.Descriptor, m *v1.Manifest) error {
	switch m.ArtifactType {
	case typePrograms:
		for _, l := range m.Layers {
			b.programs = append(b.programs, l)
			b.entries = append(b.entries, Entry{KindProgram, l.Annotations[annotationName], l.Annotations[annotationVersion], l.Digest.String(), l.Size})
		}
		return nil
	case typeRelease:
		return b.addRelease(m)
	case typeServices:
		return b.addServices(m)
	case "":
		return b.addImage(d, m)
	default:
		return fmt.Errorf("%s lists an artifact of the unknown type %q", indexFile, m.ArtifactType)
	}
}

func (b *Bundle) addServices(m *v1.Manifest) error {
	if len(m.Layers) != 1 {
		return fmt.Errorf("%s has %d parts, want one", m.ArtifactType, len(m.Layers))
	}
	l := m.Layers[0]
	data, err := b.readSmall(l)
	if err != nil {
		return err
	}
	b.services, err = zip.NewReader(bytes.NewReader(data), int64(len(data)))
	b.entries = append(b.entries, Entry{KindServices, "services", "", l.Digest.String(), l.Size})
	return err
}

// addRelease records the release manifest and, if the bundle has them, the notes.
func (b *Bundle) addRelease(m *v1.Manifest) error {
	if len(m.Layers) != 1 && (len(m.Layers) != 2 || m.Layers[1].MediaType != typeMarkdown) {
		return fmt.Errorf("%s has %d parts, want %s and at most %s", m.ArtifactType, len(m.Layers), ManifestFile, NotesFile)
	}
	data, err := b.readSmall(m.Layers[0])
	if err != nil {
		return err
	}
	if b.manifest, err = parseManifest(data); err != nil {
		return err
	}
	name := string(b.manifest.Metadata.Name)
	b.entries = append(b.entries, Entry{KindRelease, name, name, m.Layers[0].Digest.String(), m.Layers[0].Size})
	if len(m.Layers) == 1 {
		return nil
	}
	if data, err = b.readSmall(m.Layers[1]); err != nil {
		return err
	}
	notes, err := parseNotes(b.manifest.Metadata.Name, data)
	b.notes = &notes
	return err
}

func (b *Bundle) addImage(d v1.Descriptor, m *v1.Manifest) error {
	name := d.Annotations[annotationName]
	if _, ok := b.images[name]; name == "" || ok {
		return fmt.Errorf("%s lists image %q without a name or more than once", indexFile, name)
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

// checkAgainstManifest checks that the bundle has everything that its release
// pins.
func (b *Bundle) checkAgainstManifest() error {
	if b.manifest.Metadata.Name == "" || b.services == nil {
		return errors.New("release manifest or services not found")
	}
	if b.manifest.Frozen() {
		return errors.New("the release manifest of a bundle has pins, but this one names the commit " + b.manifest.Commit)
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
