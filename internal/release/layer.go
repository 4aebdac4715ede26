package release

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// layerFile is one entry of a layer: a file of the disk, or a link.
type layerFile struct {
	Name   string // path in the layer, no leading slash
	Source string // file that has the content
	Link   string // instead of Source: what a symbolic link points to
	Mode   int64
}

// writeLayer writes a tar that depends on the files' names, modes and content
// only: sorted, no times, no owners. Folders come before what is in them.
func writeLayer(w io.Writer, files []layerFile, dirs map[string]int64) error {
	all := map[string]int64{}
	for d, mode := range dirs {
		all[d] = mode
	}
	for _, f := range files {
		for d := path.Dir(f.Name); d != "."; d = path.Dir(d) {
			if _, ok := all[d]; !ok {
				all[d] = 0o755
			}
		}
	}
	tw := tar.NewWriter(w)
	names := make([]string, 0, len(all))
	for d := range all {
		names = append(names, d)
	}
	slices.Sort(names)
	for _, d := range names {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: all[d], ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}); err != nil {
			return fmt.Errorf("write layer folder %q: %w", d, err)
		}
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b layerFile) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range files {
		if err := writeEntry(tw, f); err != nil {
			return fmt.Errorf("write layer entry %q: %w", f.Name, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, f layerFile) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if f.Link != "" {
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.Link, 0o777
		return tw.WriteHeader(header)
	}
	src, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	if err := tw.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(tw, src)
	return err
}

// digester passes what is written on, and counts and hashes it.
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

// digestOf is the digest of data as OCI writes it.
func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
