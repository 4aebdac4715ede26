package release

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

const oldBundle = "testdata/bundle-c82e023"

// entry is one entry of a made-up archive.
type entry struct {
	name string
	data string
	kind byte
	link string
}

// archiveOf writes an archive of entries.
func archiveOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		err := w.WriteHeader(&tar.Header{Typeflag: e.kind, Name: e.name, Size: int64(len(e.data)), Mode: 0o644, Linkname: e.link})
		if err == nil {
			_, err = io.WriteString(w, e.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// entriesIn reads an archive.
func entriesIn(t testing.TB, archive []byte) []entry {
	t.Helper()
	var entries []entry
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{name: h.Name, data: string(data)})
	}
}

// oldArchive is the archive of the bundle in testdata.
func oldArchive(t testing.TB) []byte {
	t.Helper()
	b, err := Open(oldBundle, public(fixtureKey('k')))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := b.WriteArchive(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchiveIsDeterministic(t *testing.T) {
	t.Parallel()
	first := oldArchive(t)
	copied := filepath.Join(t.TempDir(), "other", "place")
	if err := os.CopyFS(copied, os.DirFS(oldBundle)); err != nil {
		t.Fatal(err)
	}
	var second bytes.Buffer
	if err := openFixture(t, copied).WriteArchive(context.Background(), &second); err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(first) != sha256.Sum256(second.Bytes()) {
		t.Error("two archives of the same bundle differ")
	}
	entries := entriesIn(t, first)
	for i, want := range []string{layoutFile, indexFile, signatureFile} {
		if entries[i].name != want {
			t.Errorf("entry %d is %s, want %s", i, entries[i].name, want)
		}
	}
	// It is complete: what is unpacked is the bundle.
	unpacked := t.TempDir()
	for _, e := range entries {
		replaceFile(t, filepath.Join(unpacked, e.name), e.data)
	}
	if err := openFixture(t, unpacked).Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestOpenArchiveReadsABundle(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "v0.1.tar")
	replaceFile(t, file, string(oldArchive(t)))
	b, err := OpenArchive(file, public(fixtureKey('k')))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Verify(context.Background()), b.Complete()); err != nil {
		t.Error(err)
	}
	if want := openFixture(t, oldBundle); b.Digest() != want.Digest() || len(b.Contents()) != len(want.Contents()) {
		t.Errorf("got %s with %d entries, want %s with %d", b.Digest(), len(b.Contents()), want.Digest(), len(want.Contents()))
	}
	if data, err := fs.ReadFile(b.Services(), "web/service.yaml"); err != nil || string(data) != "name: web\n" {
		t.Errorf("services: %q, %v", data, err)
	}
}

func TestOpenArchiveRefuses(t *testing.T) {
	t.Parallel()
	good := oldArchive(t)
	entries := entriesIn(t, good)
	with := func(more ...entry) []byte { return archiveOf(t, append(append([]entry{}, entries...), more...)...) }
	change := func(name string, by func(*entry)) []byte {
		changed := append([]entry{}, entries...)
		for i := range changed {
			if changed[i].name == name {
				by(&changed[i])
			}
		}
		return archiveOf(t, changed...)
	}
	var many []entry
	for i := range maxArchiveFiles + 1 {
		many = append(many, entry{name: "blobs/sha256/" + strings.TrimPrefix(digestOf([]byte{byte(i), byte(i >> 8)}), "sha256:")})
	}
	for _, test := range []struct {
		name    string
		archive []byte
		want    string
	}{
		{"nothing", nil, "index.json not found"},
		{"text", []byte(strings.Repeat("not a tar\n", 100)), "not an archive of a bundle"},
		{"cut in a header", good[:700], "truncated"},
		{"cut in a blob", good[:len(good)-3000], "truncated"},
		{"cut between two entries", good[:len(archiveOf(t, entries[:5]...))-1024], "truncated"},
		{"cut at the end", good[:len(good)-1], "truncated"},
		{"a missing blob", archiveOf(t, entries[:len(entries)-1]...), "is missing"},
		{"a path that leaves the directory", with(entry{name: "../evil"}), `entry "../evil" is not a file of a bundle`},
		{"an absolute path", with(entry{name: "/etc/passwd"}), `entry "/etc/passwd" is not a file of a bundle`},
		{"a path of a blob that leaves the directory", with(entry{name: "blobs/sha256/../../evil"}), "is not a file of a bundle"},
		{"a symbolic link", with(entry{name: "blobs/sha256/" + strings.Repeat("0", 64), kind: tar.TypeSymlink, link: "/etc/passwd"}), "is not a file of a bundle"},
		{"a hard link", with(entry{name: "blobs/sha256/" + strings.Repeat("0", 64), kind: tar.TypeLink, link: "index.json"}), "is not a file of a bundle"},
		{"a device", with(entry{name: "blobs/sha256/" + strings.Repeat("0", 64), kind: tar.TypeBlock}), "is not a file of a bundle"},
		{"a directory", with(entry{name: "blobs/", kind: tar.TypeDir}), "is not a file of a bundle"},
		{"a second index", with(entry{name: indexFile, data: "{}"}), `entry "index.json" is a duplicate`},
		{"too many entries", with(many...), "more than 10000 entries"},
		{"a changed index", change(indexFile, func(e *entry) { e.data += " " }), "is signed"},
		{"no signature", change(signatureFile, func(e *entry) { e.data = `{"index":"` + digestOf([]byte(entries[1].data)) + `"}` }), "has no signature"},
		{"signatures without end", change(signatureFile, func(e *entry) { e.data += strings.Repeat(" ", maxSignatures) }), "too large"},
		{"text for a terminal as a key", change(signatureFile, func(e *entry) {
			e.data = strings.Replace(e.data, EncodePublicKey(public(fixtureKey('k'))[0]), "\x1b[2J", 1)
		}), "does not verify"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "bundle.tar")
			replaceFile(t, file, string(test.archive))
			b, err := OpenArchive(file, public(fixtureKey('k')))
			if err == nil {
				err = b.Verify(context.Background())
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Fatalf("got %v, want an error with %q and the name of the file", err, test.want)
			}
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("the error has control characters of the archive: %q", err)
			}
			if pai.CodeOf(err) != pai.CodeRefused || pai.NextOf(err) == "" {
				t.Errorf("got code %s and next step %q, want refused and a next step", pai.CodeOf(err), pai.NextOf(err))
			}
		})
	}
}

func TestOpenArchiveRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	if _, err := OpenArchive(t.TempDir(), nil); err == nil {
		t.Error("a directory was opened as an archive")
	}
	if _, err := OpenArchive("/dev/zero", nil); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a device: got %v, want that it is not a regular file", err)
	}
}

// What the fuzzer finds must be the signed bundle, or refused.
func FuzzOpenArchive(f *testing.F) {
	good := oldArchive(f)
	entries := entriesIn(f, good)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(archiveOf(f, append([]entry{{name: "../x", data: "x"}}, entries...)...))
	f.Add(archiveOf(f, entries[1], entry{name: indexFile, kind: tar.TypeSymlink, link: "/etc/passwd"}))
	f.Add([]byte{})
	want := digestOf([]byte(entries[1].data))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := scanArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for name, s := range files {
			if !validName(name) || !filepath.IsLocal(name) || s.offset < 0 || s.size < 0 || s.offset+s.size > int64(len(data)) {
				t.Fatalf("%q is accepted at %+v of %d bytes", name, s, len(data))
			}
		}
		file := filepath.Join(t.TempDir(), "bundle.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := OpenArchive(file, public(fixtureKey('k')))
		if err == nil && b.Digest() != want {
			t.Fatalf("an archive with index %s is accepted, only %s is signed", b.Digest(), want)
		}
	})
}
