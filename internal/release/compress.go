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

// compressedLayer is a layer as bundles have it: zstd, which containerd
// unpacks, and a third of the size.
type compressedLayer struct {
	Of string `json:"of"` // digest of the uncompressed layer
	cachedFile
}

// compressed takes the compressed layer from the cache, where it is beside the
// layer, or makes it there. The same layer gives the same bytes on any number
// of cores.
func (c cachedLayer) compressed() (compressedLayer, error) {
	z := compressedLayer{cachedFile: cachedFile{file: c.file + ".zst"}}
	about := z.file + ".json"
	if data, err := os.ReadFile(about); err == nil && json.Unmarshal(data, &z) == nil && z.Of == c.Digest && z.intact() {
		return z, nil
	}
	z.Of = c.Digest
	if err := z.compress(c.file); err != nil {
		return z, fmt.Errorf("compress layer %s: %w", c.Digest, err)
	}
	data, err := json.Marshal(z)
	if err != nil {
		return z, err
	}
	return z, atomicfile.Write(about, data, 0o644)
}

func (c *cachedFile) compress(from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return atomicfile.WriteFrom(c.file, 0o644, func(w io.Writer) error {
		d := newDigester(w)
		enc, err := zstd.NewWriter(d, zstd.WithEncoderLevel(zstd.SpeedDefault))
		if err != nil {
			return err
		}
		_, err = io.Copy(enc, src)
		err = errors.Join(err, enc.Close())
		c.Digest, c.Size = d.digest(), d.size
		return err
	})
}
