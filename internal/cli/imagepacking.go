package cli

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"

	"pai.dev/pai/internal/pai"
)

// maxZstdWindow bounds the memory that a compressed archive can ask for.
const maxZstdWindow = 128 << 20

// packing is one way in which an archive can be compressed.
type packing struct {
	name  string
	magic []byte
	// open is nil for a packing that PAI does not read; unpack is then the command
	// that does.
	open   func(io.Reader) (io.Reader, error)
	unpack string
}

var packings = []packing{
	{name: "gzip", magic: []byte{0x1f, 0x8b}, open: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{name: "zstd", magic: []byte{0x28, 0xb5, 0x2f, 0xfd}, open: func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderConcurrency(1))
	}},
	{name: "bzip2", magic: []byte("BZh"), open: func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{name: "xz", magic: []byte{0xfd, '7', 'z', 'X', 'Z', 0}, unpack: "xz --decompress"},
	{name: "lz4", magic: []byte{0x04, 0x22, 0x4d, 0x18}, unpack: "lz4 --decompress"},
	{name: "zip", magic: []byte("PK\x03\x04"), unpack: "unzip"},
	{name: "lzip", magic: []byte("LZIP"), unpack: "lzip --decompress"},
	{name: "7z", magic: []byte{'7', 'z', 0xbc, 0xaf, 0x27, 0x1c}, unpack: "7z x"},
	// The properties that every program uses, and a dictionary of at least 64 KiB.
	{name: "lzma", magic: []byte{0x5d, 0, 0}, unpack: "unlzma"},
	{name: "compress (.Z)", magic: []byte{0x1f, 0x9d}, unpack: "uncompress"},
	{name: "lzop", magic: []byte{0x89, 'L', 'Z', 'O', 0}, unpack: "lzop --decompress"},
	{name: "rar", magic: []byte("Rar!\x1a\x07"), unpack: "unrar x"},
}

// decompressed reads an archive that is compressed or not.
func decompressed(path string, r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	for _, p := range packings {
		if magic, err := b.Peek(len(p.magic)); err != nil || !bytes.Equal(magic, p.magic) {
			continue
		}
		if p.open == nil {
			return nil, pai.Errorf(pai.CodeInvalid, "unpack it with \""+p.unpack+"\" and load the result", "%s is packed with %s, which cannot be read", path, p.name)
		}
		return p.open(b)
	}
	return b, nil
}
