package release

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/filelock"
	"pai.dev/pai/internal/pai"
)

// ImportOptions are the arguments of Import.
type ImportOptions struct {
	From     string // archive, or directory of a bundle
	CacheDir string // directory of programs and bundles
	Trusted  []ed25519.PublicKey
	Replace  bool // a bundle of the same release with other content is replaced
	Progress func(format string, args ...any)
}

// ImportOutcome is what Import did.
type ImportOutcome string

// The outcomes of Import.
const (
	Imported  ImportOutcome = "imported"
	Unchanged ImportOutcome = "unchanged" // the cache had the same bundle, signed by the same key
	Replaced  ImportOutcome = "replaced"
)

// ImportResult is the bundle in the cache after Import.
type ImportResult struct {
	Bundle   *Bundle
	Dir      string
	Outcome  ImportOutcome
	Previous string // digest of the replaced bundle, if it could be read
}

// Import copies a bundle into the cache. The copy takes its place in one step,
// after the signature and every digest were verified. Nothing in an archive or
// directory that no trusted key signed is read, except its index and signatures.
func Import(ctx context.Context, o ImportOptions) (ImportResult, error) {
	from, err := OpenAny(o.From, o.Trusted)
	if err != nil {
		return ImportResult{}, err
	}
	if err := from.Complete(); err != nil {
		return ImportResult{}, err
	}
	name := string(from.Manifest().Metadata.Name)
	dir := BundleDir(o.CacheDir, name)
	unlock, err := lockBundle(ctx, dir, o.Progress)
	if err != nil {
		return ImportResult{}, err
	}
	defer unlock()
	result := ImportResult{Dir: dir}
	result.Outcome, result.Previous, err = from.compareWith(ctx, dir, o)
	if err != nil {
		return ImportResult{}, err
	}
	if result.Outcome != Unchanged {
		if err := from.copyTo(ctx, dir, o.Progress); err != nil {
			return ImportResult{}, fmt.Errorf("import release %s: %w", name, err)
		}
	}
	result.Bundle, err = Open(dir, o.Trusted)
	return result, err
}

// OpenAny opens the bundle in a directory or in an archive file.
func OpenAny(path string, trusted []ed25519.PublicKey) (*Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	if info.IsDir() {
		return Open(path, trusted)
	}
	return OpenArchive(path, trusted)
}

// lockBundle takes the lock of the bundle in dir. Builds and imports of its
// release hold it.
func lockBundle(ctx context.Context, dir string, progress func(string, ...any)) (unlock func(), err error) {
	name := filepath.Base(dir)
	return filelock.Lock(ctx, filepath.Join(filepath.Dir(dir), "."+name+".lock"), func() {
		progress("waiting for another build, import, or export of release %s", name)
	})
}

// compareWith decides what an import of b does to the bundle in dir. It refuses
// to replace other content without Replace.
func (b *Bundle) compareWith(ctx context.Context, dir string, o ImportOptions) (ImportOutcome, string, error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return Imported, "", nil
	}
	name := b.manifest.Metadata.Name
	have, _, err := openUnverified(dir)
	switch {
	case err == nil && have.digest == b.digest:
		same, err := Open(dir, o.Trusted)
		if err == nil {
			err = same.Verify(ctx)
		}
		if ctx.Err() != nil {
			return "", "", fmt.Errorf("compare with bundle in the cache: %w", ctx.Err())
		}
		if err == nil {
			return Unchanged, have.digest, nil
		}
		o.Progress("release %s: replacing the same bundle in the cache: %v", name, err)
		return Replaced, have.digest, nil
	case o.Replace && err != nil:
		return Replaced, "", nil
	case o.Replace:
		return Replaced, have.digest, nil
	case err != nil:
		return "", "", otherContent(o.From, fmt.Errorf("%s exists and has no readable bundle: %w", dir, err))
	default:
		return "", "", otherContent(o.From, fmt.Errorf("the cache has another bundle of release %s: %s in %s; the one to import is %s", name, have.digest, dir, b.digest))
	}
}

func otherContent(from string, err error) error {
	return &pai.Error{Code: pai.CodeConflict, Err: err, Next: "to keep what the cache has, do nothing; to replace it, run: paictl release import --replace " + from}
}

// copyTo copies the bundle to dir and verifies it. dir changes in one step.
func (b *Bundle) copyTo(ctx context.Context, dir string, progress func(string, ...any)) error {
	if err := requireSpace(filepath.Dir(dir), b.spaceNeeded()); err != nil {
		return err
	}
	err := replaceBundle(dir, func(work string) error {
		if err := b.copyFiles(ctx, work, progress); err != nil {
			return err
		}
		return keepSignatures(dir, work, b.digest)
	})
	return explainFull(err, filepath.Dir(dir), b.spaceNeeded())
}

// replaceBundle makes a bundle beside dir and moves it there in one step. The
// caller holds the lock of the bundle, so that what is beside dir is left of a
// process that was killed.
func replaceBundle(dir string, write func(work string) error) error {
	work := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".new")
	if err := os.RemoveAll(work); err != nil {
		return fmt.Errorf("remove unfinished bundle: %w", err)
	}
	defer os.RemoveAll(work)
	if err := write(work); err != nil {
		return err
	}
	return place(work, dir)
}

// copyFiles copies everything into work, each file verified and synced.
func (b *Bundle) copyFiles(ctx context.Context, work string, progress func(string, ...any)) error {
	if err := os.MkdirAll(filepath.Join(work, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	m := newMeter(fmt.Sprintf("release %s: imported", b.manifest.Metadata.Name), b.Size(), progress)
	for _, blob := range b.distinctBlobs() {
		d := blob.descriptor
		err := atomicfile.WriteFrom(blobPath(work, d.Digest), 0o644, func(w io.Writer) error {
			return b.copyBlob(cancelableWriter{ctx, m.through(w)}, d)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var failed *fs.PathError // a disk failed, not the bundle
		if errors.As(err, &failed) {
			return err
		}
		if err != nil {
			return notVerified(b.dir, fmt.Errorf("%s: %w", blob.of, err))
		}
	}
	head, err := b.head()
	if err != nil {
		return err
	}
	for _, f := range append(head, headFile{layoutFile, []byte(layoutContent)}) {
		if err := layout.Path(work).WriteFile(f.name, f.data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// keepSignatures adds the signatures that the bundle in dir has of the same
// index to the copy in work.
func keepSignatures(dir, work, indexDigest string) error {
	old, err := readSignatures(dir)
	if err != nil || old.Index != indexDigest {
		return nil //nolint:nilerr // nothing to keep
	}
	copied, err := readSignatures(work)
	if err != nil {
		return err
	}
	var kept []signature
	for _, s := range old.Signatures {
		if s.valid(indexDigest) && !copied.has(s.PublicKey) {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return addSignatures(work, indexDigest, kept...)
}
