package release

import (
	"context"
	"errors"
	"fmt"
	"io"

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
