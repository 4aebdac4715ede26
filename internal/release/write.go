package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// writer writes a bundle into an empty directory. The manifests are marshaled
// here and not by mutate and layout.AppendImage: those write neither artifact
// types nor hard links, and another index means another digest of the bundle.
type writer struct {
	path  layout.Path
	index v1.IndexManifest
}

// content is what a bundle has besides layers.
type content struct {
	manifest []byte // release.yaml
	notes    []byte // notes.md; nil if the release has none
	services []byte // zip
}

// writeBundle writes a bundle of parts and their layers into dir and returns
// the digest of its index. The same content gives the same digest.
func writeBundle(dir string, c content, parts []part, layers []cachedLayer) (string, error) {
	w := &writer{path: layout.Path(dir), index: v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return "", err
	}
	var programs []v1.Descriptor
	for i, p := range parts {
		if p.kind != KindProgram {
			continue
		}
		d, err := w.layer(layers[i])
		if err != nil {
			return "", err
		}
		d.Annotations = map[string]string{annotationName: p.name, annotationVersion: p.version}
		programs = append(programs, d)
	}
	releaseBlob, err := w.blob(c.manifest, typeYAML)
	if err != nil {
		return "", err
	}
	about := []v1.Descriptor{releaseBlob}
	if c.notes != nil {
		notesBlob, err := w.blob(c.notes, typeMarkdown)
		if err != nil {
			return "", err
		}
		about = append(about, notesBlob)
	}
	servicesBlob, err := w.blob(c.services, typeZip)
	if err != nil {
		return "", err
	}
	err = errors.Join(
		w.artifact(typeRelease, ManifestFile, about...),
		w.artifact(typePrograms, "programs", programs...),
		w.artifact(typeServices, "services", servicesBlob))
	for i, p := range parts {
		if p.kind == KindImage && err == nil {
			err = w.image(p.image, layers[i])
		}
	}
	if err != nil {
		return "", err
	}
	return w.finish()
}

// blob adds data as a blob.
func (w *writer) blob(data []byte, mediaType types.MediaType) (v1.Descriptor, error) {
	d, err := partial.Descriptor(static.NewLayer(data, mediaType))
	if err != nil {
		return v1.Descriptor{}, err
	}
	return *d, w.path.WriteBlob(d.Digest, io.NopCloser(bytes.NewReader(data)))
}

// layer adds a cached layer, compressed, as a blob. It is a hard link if the
// file system supports that: layers are most of the size of a bundle.
func (w *writer) layer(c cachedLayer) (v1.Descriptor, error) {
	z, err := c.compressed()
	if err != nil {
		return v1.Descriptor{}, err
	}
	hash, err := v1.NewHash(z.Digest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	to := blobPath(string(w.path), hash)
	if err := os.Link(z.file, to); err != nil && !errors.Is(err, os.ErrExist) {
		if err := copyFile(z.file, to); err != nil {
			return v1.Descriptor{}, fmt.Errorf("copy layer into bundle: %w", err)
		}
	}
	return v1.Descriptor{MediaType: types.OCILayerZStd, Size: z.Size, Digest: hash}, nil
}

// json adds v as a blob.
func (w *writer) json(v any, mediaType types.MediaType) (v1.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return w.blob(data, mediaType)
}

// artifact adds a manifest that holds something other than an image.
func (w *writer) artifact(artifactType, title string, layers ...v1.Descriptor) error {
	empty, err := w.blob([]byte("{}"), typeEmpty)
	if err != nil {
		return err
	}
	d, err := w.json(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType, Config: empty, Layers: layers}, types.OCIManifestSchema1)
	d.ArtifactType = artifactType
	d.Annotations = map[string]string{annotationTitle: title}
	w.index.Manifests = append(w.index.Manifests, d)
	return err
}

// image adds an image of one layer.
func (w *writer) image(pin Image, c cachedLayer) error {
	layer, err := w.layer(c)
	if err != nil {
		return err
	}
	uncompressed, err := v1.NewHash(c.Digest)
	if err != nil {
		return err
	}
	config, err := w.json(v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux",
		RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{uncompressed}},
		Config: v1.Config{
			Entrypoint: []string{pin.Program()},
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
			User:       pin.User, WorkingDir: "/",
		},
	}, types.OCIConfigJSON)
	if err != nil {
		return err
	}
	d, err := w.json(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer}}, types.OCIManifestSchema1)
	d.Platform = &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	d.Annotations = map[string]string{
		annotationRefName:        pin.Version,
		annotationContainerdName: pin.Ref(),
		annotationName:           pin.Name,
		annotationVersion:        pin.Version,
	}
	w.index.Manifests = append(w.index.Manifests, d)
	return err
}

// finish writes the index and returns its digest.
func (w *writer) finish() (string, error) {
	data, err := json.MarshalIndent(w.index, "", "  ")
	if err != nil {
		return "", err
	}
	data = append(data, '\n')
	return digestOf(data), errors.Join(
		w.path.WriteFile(layoutFile, []byte(layoutContent), 0o644),
		w.path.WriteFile(indexFile, data, 0o644))
}

// place moves work to dir in one step, also if dir exists: the old content is
// then in work.
func place(work, dir string) error {
	err := os.Rename(work, dir)
	if err == nil {
		return nil
	}
	if _, statErr := os.Stat(dir); statErr != nil {
		return err
	}
	return unix.Renameat2(unix.AT_FDCWD, work, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
