package release

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// WritePrograms writes all programs for machines as one uncompressed tar of
// bin/… and cni/…. It is verified while it streams: only after a nil error is
// what was written worth anything.
func (b *Bundle) WritePrograms(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	folders := map[string]bool{}
	for _, d := range b.programs {
		if err := b.copyLayer(ctx, tw, d, folders); err != nil {
			return fmt.Errorf("write program %s: %w", d.Annotations[annotationName], err)
		}
	}
	return tw.Close()
}

// WritePackedPrograms writes the layers of all programs as they lie in the
// bundle: zstd frames one after the other, each with a whole tar of bin/… and
// cni/…. It is verified while it streams: only after a nil error is what was
// written worth anything.
func (b *Bundle) WritePackedPrograms(ctx context.Context, w io.Writer) error {
	for _, d := range b.programs {
		if err := b.copyBlob(cancellableWriter{ctx, w}, d); err != nil {
			return fmt.Errorf("write program %s: %w", d.Annotations[annotationName], err)
		}
	}
	return nil
}

// copyLayer writes the entries of one layer, and verifies the layer.
func (b *Bundle) copyLayer(ctx context.Context, tw *tar.Writer, d v1.Descriptor, folders map[string]bool) error {
	f, err := os.Open(blobPath(b.dir, d.Digest))
	if err != nil {
		return fmt.Errorf("read blob: %w", err)
	}
	defer f.Close()
	dig := newDigester(io.Discard)
	whole := io.TeeReader(f, dig)
	unpacked, err := zstd.NewReader(whole)
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	defer unpacked.Close()
	tr := tar.NewReader(unpacked)
	for {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("blob %s is not a layer: %w", d.Digest, err)
		}
		if !filepath.IsLocal(header.Name) || header.Typeflag != tar.TypeReg && header.Typeflag != tar.TypeDir {
			return fmt.Errorf("layer has %q, which is not a file or folder below its root", header.Name)
		}
		if header.Typeflag == tar.TypeDir {
			if folders[header.Name] {
				continue
			}
			folders[header.Name] = true
		}
		if err := tw.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(tw, cancellable{ctx, tr}); err != nil {
			return err
		}
	}
	// What follows the last entry, and the last frame, counts for the digest.
	if _, err := io.Copy(io.Discard, io.MultiReader(unpacked, whole)); err != nil {
		return fmt.Errorf("read blob %s: %w", d.Digest, err)
	}
	return dig.matches(d)
}

// cancellable stops reading when ctx ends.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// WriteImages writes the named images, or all when none is named, as one OCI
// archive, for `ctr images import`. It is verified while it streams: only
// after a nil error is what was written worth anything.
func (b *Bundle) WriteImages(ctx context.Context, w io.Writer, names ...string) error {
	if len(names) == 0 {
		names = b.ImageNames()
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	var blobs []v1.Descriptor
	seen := map[v1.Hash]bool{}
	for _, name := range names {
		img, ok := b.images[name]
		if !ok {
			return fmt.Errorf("release %s has no image %q; it has %s", b.manifest.Metadata.Name, name, strings.Join(b.ImageNames(), ", "))
		}
		index.Manifests = append(index.Manifests, img.descriptor)
		for _, d := range img.blobs {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				blobs = append(blobs, d)
			}
		}
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	if err := errors.Join(archiveFile(tw, layoutFile, []byte(layoutContent)), archiveFile(tw, indexFile, data)); err != nil {
		return fmt.Errorf("write image archive: %w", err)
	}
	for _, d := range blobs {
		if err := tw.WriteHeader(archiveHeader("blobs/sha256/"+d.Digest.Hex, d.Size)); err != nil {
			return fmt.Errorf("write image archive: %w", err)
		}
		if err := b.copyBlob(cancellableWriter{ctx, tw}, d); err != nil {
			return fmt.Errorf("write image archive: %w", err)
		}
	}
	return tw.Close()
}

type cancellableWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c cancellableWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}

func archiveHeader(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

func archiveFile(tw *tar.Writer, name string, data []byte) error {
	if err := tw.WriteHeader(archiveHeader(name, int64(len(data)))); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}
