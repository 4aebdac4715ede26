package release

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// What the functions of this file write is verified while it streams: only a
// nil error makes it trustworthy.

// WritePrograms writes all programs for machines as one uncompressed tar of
// bin/… and cni/….
func (b *Bundle) WritePrograms(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	directories := map[string]bool{} // each is written once
	for _, d := range b.programs {
		err := b.eachFile(ctx, d, func(header *tar.Header, r io.Reader) error {
			if header.Typeflag == tar.TypeDir && directories[header.Name] {
				return nil
			}
			directories[header.Name] = header.Typeflag == tar.TypeDir
			if err := tw.WriteHeader(header); err != nil {
				return err
			}
			_, err := io.Copy(tw, r)
			return err
		})
		if err != nil {
			return fmt.Errorf("write program %s: %w", d.Annotations[annotationName], err)
		}
	}
	return tw.Close()
}

// WriteProgram writes one program, such as "bin/kubeadm".
func (b *Bundle) WriteProgram(ctx context.Context, w io.Writer, name string) error {
	for _, d := range b.programs {
		found := false
		err := b.eachFile(ctx, d, func(header *tar.Header, r io.Reader) error {
			if header.Name != name {
				return nil
			}
			found = true
			_, err := io.Copy(w, r)
			return err
		})
		if err != nil || found {
			return err
		}
	}
	return fmt.Errorf("program %s not found in release %s", name, b.manifest.Metadata.Name)
}

// WritePackedPrograms writes the layers of all programs as the bundle has
// them: one zstd frame after the other, each with a whole tar of bin/… and
// cni/….
func (b *Bundle) WritePackedPrograms(ctx context.Context, w io.Writer) error {
	for _, d := range b.programs {
		if err := b.copyBlob(cancelableWriter{ctx, w}, d); err != nil {
			return fmt.Errorf("write program %s: %w", d.Annotations[annotationName], err)
		}
	}
	return nil
}

// Limits of what one layer unpacks to. The largest layers of PAI have some hundred MB, and
// their window is 8 MiB. A signed bundle with a larger one was not made by PAI.
const (
	maxUnpacked = 8 << 30
	maxWindow   = 64 << 20
)

// limitedReader fails after a number of bytes. io.LimitReader would end there as if nothing
// were missing.
type limitedReader struct {
	from io.Reader
	left int64
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return 0, errors.New("the layer unpacks to more than a layer can have")
	}
	return n, err
}

// eachFile visits the files and directories of one layer and verifies the layer.
func (b *Bundle) eachFile(ctx context.Context, d v1.Descriptor, visit func(*tar.Header, io.Reader) error) error {
	verified, w := io.Pipe()
	defer verified.Close()
	go func() { w.CloseWithError(b.copyBlob(cancelableWriter{ctx, w}, d)) }()
	decoder, err := zstd.NewReader(verified, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	defer decoder.Close()
	unpacked := &limitedReader{from: decoder, left: maxUnpacked}
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
			return fmt.Errorf("layer has %q, which is not a file or directory below its root", header.Name)
		}
		if err := visit(header, tr); err != nil {
			return err
		}
	}
	// The rest of the blob counts for its digest, too.
	_, err = io.Copy(io.Discard, io.MultiReader(unpacked, verified))
	return err
}

// WriteImages writes the named images, or all without names, as one OCI
// archive for `ctr images import`. It is not tarball.Write, whose archives
// have no manifests: containerd would make other ones, with other digests.
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
			return fmt.Errorf("image %q not found in release %s; it has %s", name, b.manifest.Metadata.Name, strings.Join(b.ImageNames(), ", "))
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
	a := newArchiveWriter(ctx, w)
	if err := a.addData(layoutFile, []byte(layoutContent)); err != nil {
		return err
	}
	if err := a.addData(indexFile, data); err != nil {
		return err
	}
	for _, d := range blobs {
		if err := a.add(blobName(d.Digest), d.Size, func(w io.Writer) error { return b.copyBlob(w, d) }); err != nil {
			return err
		}
	}
	return a.tar.Close()
}

// cancelableWriter fails when ctx ends.
type cancelableWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c cancelableWriter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.w.Write(p)
}
