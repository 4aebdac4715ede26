package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxSmall bounds the blobs that are read into memory: manifests and the
// services' archive.
const maxSmall = 64 << 20

func blobPath(dir string, h v1.Hash) string { return filepath.Join(dir, "blobs", h.Algorithm, h.Hex) }

// readSmall reads a blob into memory and verifies it.
func (b *Bundle) readSmall(d v1.Descriptor) ([]byte, error) {
	if d.Size > maxSmall {
		return nil, fmt.Errorf("blob %s is too large: %d bytes", d.Digest, d.Size)
	}
	var out bytes.Buffer
	err := b.copyBlob(&out, d)
	return out.Bytes(), err
}

// copyBlob writes a blob and verifies the size and digest of what it wrote.
func (b *Bundle) copyBlob(w io.Writer, d v1.Descriptor) error {
	if d.Digest.Algorithm != "sha256" {
		return fmt.Errorf("blob %s: unknown digest algorithm, want sha256", d.Digest)
	}
	f, _, err := b.files.open(blobName(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s is missing", d.Digest)
	}
	if err != nil {
		return fmt.Errorf("read blob: %w", err)
	}
	defer f.Close()
	dig := newDigester(w)
	// One byte more than expected is enough to see that the blob is too long.
	if _, err := io.Copy(dig, io.LimitReader(f, d.Size+1)); err != nil {
		return fmt.Errorf("read blob %s: %w", d.Digest, err)
	}
	if dig.size != d.Size {
		return wrongSize(d)
	}
	if got := dig.digest(); got != d.Digest.String() {
		return fmt.Errorf("blob %s has other content: its digest is %s", d.Digest, got)
	}
	return nil
}

func wrongSize(d v1.Descriptor) error {
	return fmt.Errorf("blob %s does not have the expected size of %d bytes", d.Digest, d.Size)
}

// checkSize compares the size of a blob's file, which takes no time.
func (b *Bundle) checkSize(d v1.Descriptor) error {
	f, size, err := b.files.open(blobName(d.Digest))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s is missing", d.Digest)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if size != d.Size {
		return wrongSize(d)
	}
	return nil
}

// digester counts and hashes what is written, and passes it on.
type digester struct {
	to   io.Writer
	hash hash.Hash
	size int64
}

func newDigester(to io.Writer) *digester { return &digester{to: to, hash: sha256.New()} }

func (d *digester) Write(p []byte) (int, error) {
	n, err := d.to.Write(p)
	d.hash.Write(p[:n])
	d.size += int64(n)
	return n, err
}

func (d *digester) digest() string { return "sha256:" + hex.EncodeToString(d.hash.Sum(nil)) }

// digestOf is the digest of data in the notation of OCI.
func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
