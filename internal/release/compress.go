package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"pai.dev/pai/internal/atomicfile"
)

// compressedLayer is a layer as bundles hold it: zstd, of which containerd
// unpacks images as they are, a third of the size and so of the way over ssh.
type compressedLayer struct {
	Of     string `json:"of"` // digest of the uncompressed layer
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	file   string
}

// compressed takes the compressed layer from the cache, where it lies beside
// the layer, or makes it there. Two builders make the same.
func (c cachedLayer) compressed() (compressedLayer, error) {
	z := compressedLayer{file: c.file + ".zst"}
	about := z.file + ".json"
	if data, err := os.ReadFile(about); err == nil && json.Unmarshal(data, &z) == nil && z.Of == c.Digest && z.intact() {
		return z, nil
	}
	z.Of = c.Digest
	if err := z.make(c.file); err != nil {
		return z, fmt.Errorf("compress layer %s: %w", c.Digest, err)
	}
	data, err := json.Marshal(z)
	if err != nil {
		return z, err
	}
	return z, atomicfile.Write(about, data, 0o644)
}

func (z compressedLayer) intact() bool {
	return cachedLayer{Digest: z.Digest, file: z.file}.intact()
}

// make compresses a file. The same content gives the same bytes, however many
// cores there are.
func (z *compressedLayer) make(from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return atomicfile.WriteFrom(z.file, 0o644, func(w io.Writer) error {
		d := newDigester(w)
		enc, err := zstd.NewWriter(d, zstd.WithEncoderLevel(zstd.SpeedDefault))
		if err != nil {
			return err
		}
		if _, err := io.Copy(enc, src); err != nil {
			return errors.Join(err, enc.Close())
		}
		if err := enc.Close(); err != nil {
			return err
		}
		z.Digest, z.Size = d.digest(), d.size
		return nil
	})
}
