package release

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// ProgramDigests has the sha256 in hex of each program for machines, by its path:
// "bin/runc". The first call reads and verifies every layer of programs, which
// takes about a second; later calls return the same map.
func (b *Bundle) ProgramDigests(ctx context.Context) (map[string]string, error) {
	b.digesting.Lock()
	defer b.digesting.Unlock()
	if b.programDigests != nil {
		return b.programDigests, nil
	}
	all := map[string]string{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, d := range b.programs {
		group.Go(func() error {
			err := b.eachFile(ctx, d, func(header *tar.Header, r io.Reader) error {
				if header.Typeflag != tar.TypeReg {
					return nil
				}
				h := sha256.New()
				if _, err := io.Copy(h, r); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				all[header.Name] = hex.EncodeToString(h.Sum(nil))
				return nil
			})
			if err != nil {
				return fmt.Errorf("read the digests of program %s: %w", d.Annotations[annotationName], err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	b.programDigests = all
	return all, nil
}
