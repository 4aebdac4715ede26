package release

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Verify reads the whole bundle and compares every digest. The error names
// every wrong blob and the entry that it belongs to.
func (b *Bundle) Verify(ctx context.Context) error {
	err := b.eachBlob(func(d v1.Descriptor) error { return b.copyBlob(cancelableWriter{ctx, io.Discard}, d) })
	if ctx.Err() != nil {
		return fmt.Errorf("verify bundle: %w", ctx.Err())
	}
	return err
}

// Complete checks that every blob exists and has its size, which takes no
// time. Verify, and whatever reads a blob, checks the content.
func (b *Bundle) Complete() error { return b.eachBlob(b.checkSize) }

// eachBlob calls check once per blob and joins the problems.
func (b *Bundle) eachBlob(check func(v1.Descriptor) error) error {
	var problems []error
	for _, blob := range b.distinctBlobs() {
		if err := check(blob.descriptor); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", blob.of, err))
		}
	}
	if len(problems) > 0 {
		return notVerified(b.dir, errors.Join(problems...))
	}
	return nil
}

// distinctBlobs lists every blob once, a manifest before what it lists.
func (b *Bundle) distinctBlobs() []namedBlob {
	var blobs []namedBlob
	seen := map[v1.Hash]bool{}
	for _, blob := range b.blobs {
		if !seen[blob.descriptor.Digest] {
			seen[blob.descriptor.Digest] = true
			blobs = append(blobs, blob)
		}
	}
	return blobs
}
