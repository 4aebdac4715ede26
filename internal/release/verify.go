package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Verify reads the whole bundle and compares every digest. The error names
// every blob that is wrong, and what it belongs to.
func (b *Bundle) Verify(ctx context.Context) error {
	err := b.eachBlob(func(blob namedBlob) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return b.copyBlob(cancellableWriter{ctx, io.Discard}, blob.descriptor)
	})
	if ctx.Err() != nil {
		return fmt.Errorf("verify bundle: %w", ctx.Err())
	}
	if err != nil {
		return notVerified(b.dir, err)
	}
	return nil
}

// eachBlob calls check once per blob and joins what is wrong.
func (b *Bundle) eachBlob(check func(namedBlob) error) error {
	var problems []error
	seen := map[v1.Hash]bool{}
	for _, blob := range b.blobs {
		if seen[blob.descriptor.Digest] {
			continue
		}
		seen[blob.descriptor.Digest] = true
		if err := check(blob); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", blob.of, err))
		}
	}
	return errors.Join(problems...)
}

// Complete looks whether every blob is there and as long as it should be,
// which takes no time. Its content is verified when it is read, and by Verify.
func (b *Bundle) Complete() error {
	err := b.eachBlob(func(blob namedBlob) error {
		info, err := os.Stat(blobPath(b.dir, blob.descriptor.Digest))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("blob %s is missing", blob.descriptor.Digest)
		}
		if err == nil && info.Size() != blob.descriptor.Size {
			err = fmt.Errorf("blob %s has not the size of %d bytes that it should have", blob.descriptor.Digest, blob.descriptor.Size)
		}
		return err
	})
	if err != nil {
		return notVerified(b.dir, err)
	}
	return nil
}
