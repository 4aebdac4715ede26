package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A bundle is an OCI image layout: one manifest per image, one for the
// programs (a layer per program set), one for the services (a zip archive)
// and one for the release's manifest.
const (
	typePrograms = "application/vnd.pai.programs.v1"
	typeServices = "application/vnd.pai.services.v1"
	typeRelease  = "application/vnd.pai.release.v1"

	typeEmpty = types.MediaType("application/vnd.oci.empty.v1+json") // OCI image spec 1.1, "guidance for an empty descriptor"
	typeZip   = types.MediaType("application/zip")
	typeYAML  = types.MediaType("application/yaml")

	annotationRefName        = "org.opencontainers.image.ref.name"     // OCI image spec 1.1
	annotationContainerdName = "io.containerd.image.name"              // containerd's core/images/annotations.go
	annotationTitle          = "org.opencontainers.image.title"        // OCI image spec 1.1
	annotationVersion        = "org.opencontainers.image.version"      // OCI image spec 1.1
	annotationName           = "dev.pai.name"                          // the pin's name in release.yaml
	layoutFile               = "oci-layout"                            // OCI image layout 1.0
	layoutContent            = `{"imageLayoutVersion":"1.0.0"}` + "\n" // OCI image layout 1.0
	indexFile                = "index.json"                            // OCI image layout 1.0
)

// layout writes an OCI image layout into a folder.
type layout struct {
	dir   string
	index v1.IndexManifest
}

func newLayout(dir string) (*layout, error) {
	if err := os.MkdirAll(blobFolder(dir), 0o755); err != nil {
		return nil, fmt.Errorf("make bundle: %w", err)
	}
	return &layout{dir: dir, index: v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}}, nil
}

func blobFolder(dir string) string { return filepath.Join(dir, "blobs", "sha256") }

func blobPath(dir string, h v1.Hash) string { return filepath.Join(dir, "blobs", h.Algorithm, h.Hex) }

// blob adds data as a blob.
func (l *layout) blob(data []byte, mediaType types.MediaType) (v1.Descriptor, error) {
	hash, err := v1.NewHash(digestOf(data))
	if err != nil {
		return v1.Descriptor{}, err
	}
	if err := os.WriteFile(blobPath(l.dir, hash), data, 0o644); err != nil {
		return v1.Descriptor{}, fmt.Errorf("write blob: %w", err)
	}
	return v1.Descriptor{MediaType: mediaType, Size: int64(len(data)), Digest: hash}, nil
}

// layer adds a cached layer, compressed, as a blob, linked where the file
// system can.
func (l *layout) layer(c cachedLayer) (v1.Descriptor, error) {
	z, err := c.compressed()
	if err != nil {
		return v1.Descriptor{}, err
	}
	hash, err := v1.NewHash(z.Digest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	to := blobPath(l.dir, hash)
	if err := os.Link(z.file, to); err != nil && !errors.Is(err, os.ErrExist) {
		if err := copyFile(z.file, to); err != nil {
			return v1.Descriptor{}, fmt.Errorf("copy layer into bundle: %w", err)
		}
	}
	return v1.Descriptor{MediaType: types.OCILayerZStd, Size: z.Size, Digest: hash}, nil
}

func (l *layout) json(v any, mediaType types.MediaType) (v1.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return v1.Descriptor{}, err
	}
	return l.blob(data, mediaType)
}

// artifact adds a manifest that holds something other than an image.
func (l *layout) artifact(artifactType, title string, layers ...v1.Descriptor) error {
	empty, err := l.blob([]byte("{}"), typeEmpty)
	if err != nil {
		return err
	}
	m, err := l.json(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType, Config: empty, Layers: layers}, types.OCIManifestSchema1)
	if err != nil {
		return err
	}
	m.ArtifactType = artifactType
	m.Annotations = map[string]string{annotationTitle: title}
	l.index.Manifests = append(l.index.Manifests, m)
	return nil
}

// image adds an image of one layer.
func (l *layout) image(pin Image, c cachedLayer) error {
	layer, err := l.layer(c)
	if err != nil {
		return err
	}
	uncompressed, err := v1.NewHash(c.Digest)
	if err != nil {
		return err
	}
	config, err := l.json(v1.ConfigFile{
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
	m, err := l.json(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer}}, types.OCIManifestSchema1)
	if err != nil {
		return err
	}
	m.Platform = &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	m.Annotations = map[string]string{
		annotationRefName:        pin.Version,
		annotationContainerdName: pin.Ref(),
		annotationName:           pin.Name,
		annotationVersion:        pin.Version,
	}
	l.index.Manifests = append(l.index.Manifests, m)
	return nil
}

// finish writes the index and returns its digest.
func (l *layout) finish() (string, error) {
	data, err := json.MarshalIndent(l.index, "", "  ")
	if err != nil {
		return "", err
	}
	data = append(data, '\n')
	err = errors.Join(
		os.WriteFile(filepath.Join(l.dir, layoutFile), []byte(layoutContent), 0o644),
		os.WriteFile(filepath.Join(l.dir, indexFile), data, 0o644))
	if err != nil {
		return "", fmt.Errorf("write bundle index: %w", err)
	}
	return digestOf(data), nil
}
