package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"filippo.io/age"

	"pai.dev/pai/internal/pai"
)

// The files of a backup.
const (
	// SnapshotFile is the snapshot of etcd.
	SnapshotFile = "etcd/snapshot.db"
	// EncryptionFile is the encryption configuration of the API server.
	EncryptionFile = "encryption.yaml"
	// SecretFile is one Secret as etcd stores it. It shows that EncryptionFile has
	// the key; it is missing if the cluster has no Secret.
	SecretFile = "secret.json"
	// JobsFile has the keys of etcd that belong to jobs, with their values. A restore
	// says from it what happens to each job.
	JobsFile = "jobs.json"
	// PKIDir has the certificate authorities and the keys of service accounts.
	PKIDir = "pki/"
	// StateDir has the journal, the revisions of the configuration, and the record of
	// the cluster.
	StateDir = "state/"
	// indexFile is the last file. It has the digests of the others.
	indexFile = "index.json"
)

// Limits of a content. etcd has a quota of 8 GiB at most.
const (
	maxContent  = 32 << 30
	maxSnapshot = 16 << 30
	maxFile     = 256 << 20
	maxFiles    = 100_000
	maxIndex    = 64 << 20
)

// checkName refuses a file that no backup has.
func checkName(name string) error {
	ok := slices.Contains([]string{SnapshotFile, EncryptionFile, SecretFile, JobsFile}, name) ||
		strings.HasPrefix(name, PKIDir) || strings.HasPrefix(name, StateDir)
	printable := !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`'"\`, r) })
	if !ok || !printable || !fs.ValidPath(name) || len(name) > 300 || path.Clean(name) != name {
		return fmt.Errorf("a backup cannot have the file %q", name)
	}
	return nil
}

func checkSize(name string, size int64) error {
	limit := int64(maxFile)
	if name == SnapshotFile {
		limit = maxSnapshot
	}
	if size < 0 || size > limit {
		return fmt.Errorf("file %s of the backup has %d bytes; the limit is %d", name, size, limit)
	}
	return nil
}

// indexed is one file in index.json.
type indexed struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Writer writes the content of a backup.
type Writer struct {
	tar    *tar.Writer
	sealed io.WriteCloser
	index  []indexed
	names  map[string]bool
}

func newWriter(to io.Writer, recipients []age.Recipient) (*Writer, error) {
	sealed, err := age.Encrypt(to, recipients...)
	if err != nil {
		return nil, fmt.Errorf("encrypt the backup: %w", err)
	}
	return &Writer{tar: tar.NewWriter(sealed), sealed: sealed, names: map[string]bool{}}, nil
}

// Add adds a file of a size.
func (w *Writer) Add(name string, size int64, from io.Reader) error {
	if err := errors.Join(checkName(name), checkSize(name, size)); err != nil {
		return err
	}
	if len(w.index) == maxFiles || w.names[name] {
		return fmt.Errorf("file %s is a duplicate, or the backup has more than %d files", name, maxFiles)
	}
	sum := sha256.New()
	if err := w.write(name, size, io.TeeReader(from, sum)); err != nil {
		return err
	}
	w.names[name] = true
	w.index = append(w.index, indexed{name, size, hex.EncodeToString(sum.Sum(nil))})
	return nil
}

func (w *Writer) write(name string, size int64, from io.Reader) error {
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("add %s to the backup: %w", name, err)
	}
	n, err := io.Copy(w.tar, io.LimitReader(from, size))
	if err == nil && n != size {
		err = fmt.Errorf("it ends after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return fmt.Errorf("add %s to the backup: %w", name, err)
	}
	return nil
}

func (w *Writer) close() error {
	index, err := json.Marshal(w.index)
	if err != nil {
		return err
	}
	if err := w.write(indexFile, int64(len(index)), strings.NewReader(string(index))); err != nil {
		return err
	}
	return errors.Join(w.tar.Close(), w.sealed.Close())
}

// counted counts and digests what is written or read.
type counted struct {
	sum  hash.Hash
	size int64
}

func newCounted() *counted { return &counted{sum: sha256.New()} }

func (c *counted) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.sum.Write(p)
}

func (c *counted) content() Content { return Content{c.size, hex.EncodeToString(c.sum.Sum(nil))} }

// checkContent reads content.age and compares it with the manifest.
func checkContent(ctx context.Context, t Target, m Manifest) error {
	file, err := t.Open(ctx, m.Name+"/"+contentFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s of backup %s is missing", contentFile, m.Name)
	}
	if err != nil {
		return err
	}
	defer file.Close()
	got := newCounted()
	if _, err := io.Copy(got, io.LimitReader(contextReader{ctx, file}, m.Content.Size+1)); err != nil {
		return fmt.Errorf("read %s of backup %s: %w", contentFile, m.Name, err)
	}
	return m.compare(got.content())
}

func (m Manifest) compare(got Content) error {
	switch {
	case got.Size < m.Content.Size:
		return fmt.Errorf("%s of backup %s is cut off: it has %d of %d bytes", contentFile, m.Name, got.Size, m.Content.Size)
	case got.Size > m.Content.Size:
		return fmt.Errorf("%s of backup %s has more than the %d bytes that are signed", contentFile, m.Name, m.Content.Size)
	case got.SHA256 != m.Content.SHA256:
		return fmt.Errorf("%s of backup %s is damaged: it has the sha256 %s, but %s is signed", contentFile, m.Name, got.SHA256, m.Content.SHA256)
	}
	return nil
}

// contextReader ends a read when its context ends.
type contextReader struct {
	ctx  context.Context
	from io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// Read decrypts a backup and calls visit with each of its files, in their order. What
// visit got is whole only if Read returns nil.
func Read(ctx context.Context, t Target, m Manifest, identities []age.Identity, visit func(name string, size int64, from io.Reader) error) error {
	if err := checkContent(ctx, t, m); err != nil { // before anything is decrypted
		return err
	}
	file, err := t.Open(ctx, m.Name+"/"+contentFile)
	if err != nil {
		return err
	}
	defer file.Close()
	again := newCounted() // another process can have changed it
	sealed := io.TeeReader(io.LimitReader(contextReader{ctx, file}, m.Content.Size+1), again)
	open, err := age.Decrypt(sealed, identities...)
	if no := new(age.NoIdentityMatchError); errors.As(err, &no) {
		return pai.Errorf(pai.CodeRefused, "use the file with the private key of one of these recipients: "+strings.Join(m.Recipients, ", "),
			"no given identity can decrypt backup %s", m.Name)
	}
	if err != nil {
		return fmt.Errorf("decrypt backup %s: %w", m.Name, err)
	}
	if err := readFiles(open, visit); err != nil {
		return fmt.Errorf("read backup %s: %w", m.Name, err)
	}
	if _, err := io.Copy(io.Discard, sealed); err != nil {
		return fmt.Errorf("read backup %s: %w", m.Name, err)
	}
	return m.compare(again.content())
}

// readFiles reads the files and compares them with the index at their end.
func readFiles(from io.Reader, visit func(name string, size int64, from io.Reader) error) error {
	entries := tar.NewReader(from)
	var found []indexed
	names := map[string]bool{}
	for {
		header, err := entries.Next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return errors.New("it is cut off: it has no index")
		case err != nil:
			return err
		case header.Typeflag != tar.TypeReg:
			return fmt.Errorf("%q is not a regular file", header.Name)
		case header.Name == indexFile:
			return checkIndex(entries, header.Size, found, from)
		}
		if err := errors.Join(checkName(header.Name), checkSize(header.Name, header.Size)); err != nil {
			return err
		}
		if len(found) == maxFiles || names[header.Name] {
			return fmt.Errorf("file %s is a duplicate, or there are more than %d files", header.Name, maxFiles)
		}
		names[header.Name] = true
		sum := sha256.New()
		body := io.TeeReader(entries, sum)
		if err := visit(header.Name, header.Size, body); err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return fmt.Errorf("read %s: %w", header.Name, err)
		}
		found = append(found, indexed{header.Name, header.Size, hex.EncodeToString(sum.Sum(nil))})
	}
}

func checkIndex(entries *tar.Reader, size int64, found []indexed, rest io.Reader) error {
	if size > maxIndex {
		return fmt.Errorf("its index has %d bytes; the limit is %d", size, maxIndex)
	}
	data, err := io.ReadAll(entries)
	if err != nil {
		return fmt.Errorf("read its index: %w", err)
	}
	var index []indexed
	if err := json.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("read its index: %w", err)
	}
	if !slices.Equal(index, found) {
		return errors.New("its files are not those of its index")
	}
	if _, err := entries.Next(); !errors.Is(err, io.EOF) {
		return errors.New("it has files after its index")
	}
	_, err = io.Copy(io.Discard, rest) // age checks the end
	return err
}
