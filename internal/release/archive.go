package release

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"time"
)

// archiveWriter writes a tar that depends only on names and content.
type archiveWriter struct{ tar *tar.Writer }

func newArchiveWriter(ctx context.Context, w io.Writer) archiveWriter {
	return archiveWriter{tar.NewWriter(cancelableWriter{ctx, w})}
}

// add adds a file, whose content write writes.
func (a archiveWriter) add(name string, size int64, write func(io.Writer) error) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	err := a.tar.WriteHeader(header)
	if err == nil {
		err = write(a.tar)
	}
	if err != nil {
		return fmt.Errorf("write %s into archive: %w", name, err)
	}
	return nil
}

func (a archiveWriter) addData(name string, data []byte) error {
	return a.add(name, int64(len(data)), func(w io.Writer) error { _, err := w.Write(data); return err })
}

// WriteArchive writes the whole bundle as one archive, which OpenArchive reads. It
// is a tar without compression: almost everything in a bundle is compressed. The
// same bundle gives the same archive. Every blob is verified while it streams:
// only a nil error makes the archive trustworthy.
func (b *Bundle) WriteArchive(ctx context.Context, w io.Writer) error {
	a := newArchiveWriter(ctx, w)
	if err := a.addData(layoutFile, []byte(layoutContent)); err != nil {
		return err
	}
	head, err := b.head()
	if err != nil {
		return err
	}
	for _, f := range head {
		if err := a.addData(f.name, f.data); err != nil {
			return err
		}
	}
	for _, blob := range b.distinctBlobs() {
		d := blob.descriptor
		if err := a.add(blobName(d.Digest), d.Size, func(w io.Writer) error { return b.copyBlob(w, d) }); err != nil {
			return fmt.Errorf("%s: %w", blob.of, err)
		}
	}
	return a.tar.Close()
}

// headFile is a file of a bundle that is no blob.
type headFile struct {
	name string
	data []byte
}

// head reads index and signatures, and checks that the index is the one that
// was opened.
func (b *Bundle) head() ([]headFile, error) {
	index, err := readAll(b.files, indexFile, maxSmall)
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if got := digestOf(index); got != b.digest {
		return nil, notVerified(b.dir, fmt.Errorf("index.json changed to %s while it was read", got))
	}
	signatures, err := readAll(b.files, signatureFile, maxSignatures)
	if err != nil {
		return nil, fmt.Errorf("read signatures: %w", err)
	}
	return []headFile{{indexFile, index}, {signatureFile, signatures}}, nil
}

// Size is the number of bytes of all blobs.
func (b *Bundle) Size() int64 {
	size := int64(0)
	for _, blob := range b.distinctBlobs() {
		size += blob.descriptor.Size
	}
	return size
}

// overhead is more than an archive or a directory has besides the content of
// one blob: a header and padding, or a block of a file system.
const overhead = 8 << 10

// spaceNeeded is the free disk space that a copy of the bundle needs.
func (b *Bundle) spaceNeeded() int64 {
	return b.Size() + int64(len(b.distinctBlobs())+3)*overhead
}

// meter counts what is written through it and reports it every few seconds.
type meter struct {
	what     string
	total    int64
	written  int64
	last     time.Time
	progress func(format string, args ...any)
}

// meterEvery is how often a meter reports.
const meterEvery = 5 * time.Second

func newMeter(what string, total int64, progress func(string, ...any)) *meter {
	return &meter{what: what, total: total, last: time.Now(), progress: progress}
}

func (m *meter) Write(p []byte) (int, error) {
	m.written += int64(len(p))
	if time.Since(m.last) >= meterEvery {
		m.last = time.Now()
		m.progress("%s: %d of %d MB", m.what, m.written>>20, max(1, m.total>>20))
	}
	return len(p), nil
}

// through passes on to w and counts.
func (m *meter) through(w io.Writer) io.Writer { return io.MultiWriter(w, m) }
