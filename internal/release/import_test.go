package release

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// otherBundle writes a bundle of the same release with other content, signed by
// the same key.
func otherBundle(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other")
	digest, err := writeBundle(dir, content{manifest: []byte(strings.Split(pinnedManifest, "programs:")[0]), services: emptyZip(t)}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(dir, digest, fixtureKey('k')); err != nil {
		t.Fatal(err)
	}
	return dir
}

func emptyZip(t *testing.T) []byte {
	t.Helper()
	data, err := zipFiles(nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func importOptions(from, cache string) ImportOptions {
	return ImportOptions{From: from, CacheDir: cache, Trusted: public(fixtureKey('k')), Progress: func(string, ...any) {}}
}

// exported is the file of an archive of the bundle in testdata.
func exported(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "v0.1.tar")
	replaceFile(t, file, string(oldArchive(t)))
	return file
}

// onlyBundle checks that the cache has nothing but the bundle of v0.1 and its lock.
func onlyBundle(t *testing.T, cache string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(cache, "bundles"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != ".v0.1.lock" {
			names = append(names, e.Name())
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("the directory of bundles has %v, want %v", names, want)
	}
}

func TestImportArchiveAndDirectory(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]string{"archive": exported(t), "directory": oldBundle} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache := t.TempDir()
			r, err := Import(context.Background(), importOptions(from, cache))
			if err != nil {
				t.Fatal(err)
			}
			if r.Outcome != Imported || r.Dir != BundleDir(cache, "v0.1") || r.Bundle.Digest() != openFixture(t, oldBundle).Digest() {
				t.Errorf("got %+v", r)
			}
			if err := r.Bundle.Verify(context.Background()); err != nil {
				t.Error(err)
			}
			onlyBundle(t, cache, "v0.1")
			r, err = Import(context.Background(), importOptions(from, cache))
			if err != nil || r.Outcome != Unchanged {
				t.Errorf("again: got %q, %v; want unchanged", r.Outcome, err)
			}
		})
	}
}

func TestImportReplacesOtherContentOnlyWithReplace(t *testing.T) {
	t.Parallel()
	cache, other := t.TempDir(), otherBundle(t)
	if _, err := Import(context.Background(), importOptions(other, cache)); err != nil {
		t.Fatal(err)
	}
	_, err := Import(context.Background(), importOptions(exported(t), cache))
	otherDigest := openFixture(t, other).Digest()
	if pai.CodeOf(err) != pai.CodeConflict || !strings.Contains(err.Error(), otherDigest) || !strings.Contains(pai.NextOf(err), "import --replace") {
		t.Fatalf("got %v (next: %s), want a conflict that names %s and --replace", err, pai.NextOf(err), otherDigest)
	}
	if got := openFixture(t, BundleDir(cache, "v0.1")).Digest(); got != otherDigest {
		t.Errorf("the refused import changed the bundle to %s", got)
	}
	o := importOptions(exported(t), cache)
	o.Replace = true
	r, err := Import(context.Background(), o)
	if err != nil || r.Outcome != Replaced || r.Previous != otherDigest {
		t.Errorf("got %+v, %v; want that it replaced %s", r, err, otherDigest)
	}
	onlyBundle(t, cache, "v0.1")
}

func TestImportRepairsTheSameBundle(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	dir := BundleDir(cache, "v0.1")
	if err := os.CopyFS(dir, os.DirFS(oldBundle)); err != nil {
		t.Fatal(err)
	}
	// The cache's own signature stays beside the imported one.
	if err := sign(dir, openFixture(t, oldBundle).Digest(), fixtureKey('o')); err != nil {
		t.Fatal(err)
	}
	flip(t, layerOf(t, openFixture(t, dir), KindProgram, "pair"), 50)
	r, err := Import(context.Background(), importOptions(exported(t), cache))
	if err != nil || r.Outcome != Replaced {
		t.Fatalf("got %q, %v; want replaced", r.Outcome, err)
	}
	if err := r.Bundle.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := Open(dir, public(fixtureKey('o'))); err != nil {
		t.Errorf("the signature that the cache had is lost: %v", err)
	}
}

func TestImportRefusesBeforeItChangesAnything(t *testing.T) {
	t.Parallel()
	damaged := string(oldArchive(t))
	at := strings.LastIndex(damaged, "blobs/sha256/") + 600
	damaged = damaged[:at] + string(damaged[at]^1) + damaged[at+1:]
	for _, test := range []struct {
		name, archive string
		trusted       []ed25519.PublicKey
		want          string
	}{
		{"damaged", damaged, public(fixtureKey('k')), "has other content"},
		{"truncated", damaged[:len(damaged)-2000], public(fixtureKey('k')), "truncated"},
		{"foreign", string(oldArchive(t)), public(fixtureKey('x')), "signed by the untrusted key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cache, file := t.TempDir(), filepath.Join(t.TempDir(), "v0.1.tar")
			replaceFile(t, file, test.archive)
			o := importOptions(file, cache)
			o.Trusted = test.trusted
			_, err := Import(context.Background(), o)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Fatalf("got %v, want an error with %q and the file", err, test.want)
			}
			if pai.CodeOf(err) != pai.CodeRefused || pai.NextOf(err) == "" {
				t.Errorf("got code %s, next step %q", pai.CodeOf(err), pai.NextOf(err))
			}
			onlyBundle(t, cache)
		})
	}
}

func TestImportReportsAFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	free, ok := freeBytes(dir)
	if !ok {
		t.Fatal("the free space of the temporary directory is unknown")
	}
	err := requireSpace(dir, free*2+1)
	if err == nil || !strings.Contains(err.Error(), "bytes needed") || !strings.Contains(err.Error(), "bytes free") {
		t.Errorf("got %v, want needed and free bytes", err)
	}
	if err := requireSpace(dir, 1); err != nil {
		t.Error(err)
	}
	full := explainFull(&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, dir, 77)
	if !strings.Contains(full.Error(), "77 bytes needed") || !errors.Is(full, syscall.ENOSPC) {
		t.Errorf("got %v, want needed bytes and the cause", full)
	}
	if err := explainFull(fs.ErrPermission, dir, 77); !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "needed") {
		t.Errorf("got %v, want the error as it was", err)
	}
}

// killDuringImport is the environment variable that makes the test program import
// an archive and wait in the middle: "FILE CACHE".
const killDuringImport = "PAI_TEST_KILL_DURING_IMPORT"

// hangingStore hangs when the sixth file is opened.
type hangingStore struct {
	store
	opened *int
}

func (h hangingStore) open(name string) (io.ReadCloser, int64, error) {
	if *h.opened++; *h.opened == 6 {
		fmt.Println("hanging")
		time.Sleep(time.Minute)
	}
	return h.store.open(name)
}

// importAndHang imports and hangs in the middle.
func importAndHang(arguments string) {
	from, cache, _ := strings.Cut(arguments, " ")
	b, err := OpenAny(from, public(fixtureKey('k')))
	if err != nil {
		panic(err)
	}
	b.files = hangingStore{b.files, new(int)}
	unlock, err := lockBundle(context.Background(), BundleDir(cache, "v0.1"), func(string, ...any) {})
	if err != nil {
		panic(err)
	}
	defer unlock()
	panic(b.copyTo(context.Background(), BundleDir(cache, "v0.1"), func(string, ...any) {}))
}

func TestKilledImportLeavesNothingForTheNext(t *testing.T) {
	t.Parallel()
	file, cache := exported(t), t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), killDuringImport+"="+file+" "+cache)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it is in the middle
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	onlyBundle(t, cache, ".v0.1.new")
	r, err := Import(context.Background(), importOptions(file, cache))
	if err != nil || r.Outcome != Imported {
		t.Fatalf("got %q, %v; want imported", r.Outcome, err)
	}
	if err := r.Bundle.Verify(context.Background()); err != nil {
		t.Error(err)
	}
	onlyBundle(t, cache, "v0.1")
}

func TestExportIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	b, cache, dir := openFixture(t, oldBundle), t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "v0.1.tar")
	progress := func(string, ...any) {}
	replaceFile(t, filepath.Join(dir, atomicfile.Prefix+"v0.1.tar.killed"), "left of an export that was killed")
	size, err := b.Export(context.Background(), cache, file, progress)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v; want only the archive", entries, err)
	}
	if info, err := os.Stat(file); err != nil || info.Size() != size || info.Mode().Perm() != 0o644 {
		t.Errorf("got %v, %v; want %d bytes with mode 644", info, err, size)
	}
	if _, err := OpenArchive(file, public(fixtureKey('k'))); err != nil {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Export(canceled, cache, filepath.Join(dir, "second.tar"), progress); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if _, err := b.Export(context.Background(), cache, dir, progress); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("a directory: got %v, want a usage error", err)
	}
	if _, err := b.Export(context.Background(), cache, filepath.Join(dir, "none", "x.tar"), progress); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("no directory: got %v, want a usage error", err)
	}
	// A bundle that is damaged since it was opened gives no archive.
	copied := filepath.Join(t.TempDir(), "bundle")
	if err := os.CopyFS(copied, os.DirFS(oldBundle)); err != nil {
		t.Fatal(err)
	}
	b = openFixture(t, copied)
	flip(t, layerOf(t, b, KindProgram, "pair"), 50)
	if _, err := b.Export(context.Background(), cache, filepath.Join(dir, "second.tar"), progress); err == nil || !strings.Contains(err.Error(), "program pair") {
		t.Errorf("got %v, want an error that names program pair", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("got %v, want only the first archive", entries)
	}
}
