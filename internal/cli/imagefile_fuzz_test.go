package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"pai.dev/pai/internal/pai"
)

// FuzzOpenImageFile opens hostile archives of images and sends them. The machine must get
// exactly the names that were checked, and nothing outside of its directory.
func FuzzOpenImageFile(f *testing.F) {
	named := index(`,"annotations":{"io.containerd.image.name":"docker.io/team/train:v3"}`)
	docker := `[{"Config":"c.json","RepoTags":["train:v3","team/train:v4"],"Layers":["a/layer.tar"]}]`
	for _, files := range []map[string]string{
		{"oci-layout": `{"imageLayoutVersion":"1.0.0"}`, "index.json": named, "manifest.json": docker, "blobs/sha256/aa": "{}"},
		{"manifest.json": docker, "c.json": "{}", "a/layer.tar": "x", "repositories": "{}"},
		{"oci-layout": "{}", "index.json": index("")},
		{"index.json": `{"manifests":[]}`},
		{"index.json": named, "blobs/../../../etc/passwd": "x"},
		{"./x/../manifest.json": docker},
	} {
		plain := archiveOf(f, files)
		f.Add(plain, "")
		f.Add(plain[:len(plain)/2], "")
		f.Add(plain, "team/other:v1")
		f.Add(packed(f, plain, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }), "")
		f.Add(packed(f, plain, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }), "other")
	}
	for _, names := range hostileIndexes {
		f.Add(archiveOf(f, map[string]string{"index.json": names}), "")
	}
	f.Add(holes(f), "")
	f.Add([]byte("BZh91AY&SY"), "")
	f.Add([]byte{}, "x")
	f.Fuzz(func(t *testing.T, data []byte, newName string) {
		dir := t.TempDir()
		file := filepath.Join(dir, "image.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		image, err := openImageFile(file, newName)
		if err == nil {
			// What is longer than that has no names that differ from those of a shorter one.
			sent := &limited{left: 16 << 20}
			if err := image.archive(sent); err == nil {
				checkSent(t, sent.Bytes(), image.names)
			}
		} else if code := pai.CodeOf(err); code != pai.CodeInvalid && code != pai.CodeUsage && code != pai.CodeRefused {
			t.Errorf("got code %s of %v", code, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("the directory of the archive has %v, %v", entries, err)
		}
	})
}

// checkSent reads an archive as containerd does and compares the names of its images.
func checkSent(t *testing.T, sent []byte, want []string) {
	t.Helper()
	var names []string
	lists := 0
	r := tar.NewReader(bytes.NewReader(sent))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("what was sent cannot be read: %v", err)
		}
		if !filepath.IsLocal(h.Name) || h.Linkname != "" && !filepath.IsLocal(target(h)) {
			t.Errorf("sent %q, which links to %q", h.Name, h.Linkname)
		}
		switch path.Clean(h.Name) {
		case indexFile:
			var list ocispec.Index
			if err := json.NewDecoder(r).Decode(&list); err != nil {
				t.Errorf("%s: %v", h.Name, err)
			}
			for _, m := range list.Manifests {
				names = append(names, m.Annotations[annotationName])
			}
			lists++
		case dockerFile:
			var list []struct{ RepoTags []string }
			if err := json.NewDecoder(r).Decode(&list); err != nil {
				t.Errorf("%s: %v", h.Name, err)
			}
			for _, m := range list {
				names = append(names, m.RepoTags...)
			}
			lists++
		}
	}
	if lists != 1 || !slices.Equal(names, want) {
		t.Errorf("the machine reads %d lists with %q, the names that were checked are %q", lists, names, want)
	}
	for _, name := range names {
		if strings.HasPrefix(name, ownImages) {
			t.Errorf("sent %s", name)
		}
	}
}

// hostileIndexes name another image to a decoder that knows no case, or that keeps the
// first or the last of several keys.
var hostileIndexes = []string{
	`{"manifests":[{"annotations":{"io.containerd.image.name":"team/train:v3"}}],"manife\u017fts":[{"annotations":{"io.containerd.image.name":"pai.local/pause:v2"}}]}`,
	`{"Manifests":[{"annotations":{"io.containerd.image.name":"pai.local/pause:v2"}}],"manifests":[{"annotations":{"io.containerd.image.name":"team/train:v3"}}]}`,
	`{"manifests":[{"annotations":{"io.containerd.image.name":"team/train:v3"},"annotation\u017f":{"io.containerd.image.name":"pai.local/pause:v2"}}]}`,
	`{"manifests":[{"annotations":{"io.containerd.image.name":"team/train:v3","io.containerd.image.name":"pai.local/pause:v2"}}]}`,
}

// The names that the runtime reads are those that were checked, whatever decoder it has.
func TestIndexIsWrittenFromWhatWasChecked(t *testing.T) {
	t.Parallel()
	for _, names := range hostileIndexes {
		f, err := openImageFile(put(t, "image.tar", archiveOf(t, map[string]string{"index.json": names})), "")
		if err != nil {
			if pai.CodeOf(err) != pai.CodeRefused {
				t.Errorf("%s: %v", names, err)
			}
			continue
		}
		var out bytes.Buffer
		if err := f.archive(&out); err != nil {
			t.Fatal(err)
		}
		checkSent(t, out.Bytes(), f.names)
		if bytes.Contains(out.Bytes(), []byte(ownImages)) {
			t.Errorf("%s: the machine gets %s", names, out.String())
		}
	}
}

// An archive that takes no space can be neither endless nor larger than the disks of the
// machines, and what was not checked is not sent.
func TestArchivesThatGrowAreRefused(t *testing.T) {
	t.Parallel()
	var many bytes.Buffer
	z := gzip.NewWriter(&many)
	w := tar.NewWriter(z)
	for i := range maxEntries + 1 {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("blobs/%d", i), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	for want, file := range map[string]string{
		"more than 100000 files":        put(t, "many.tgz", many.Bytes()),
		"has holes, which no image has": put(t, "sparse.tar", holes(t)),
		"no file and no directory":      os.DevNull,
	} {
		if f, err := openImageFile(file, "train:v1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v", want, f, err)
		}
	}

	file := put(t, "image.tar", archiveOf(t, map[string]string{"manifest.json": `[{"RepoTags":["train:v3"]}]`}))
	f, err := openImageFile(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, archiveOf(t, map[string]string{"oci-layout": "{}", "index.json": hostileIndexes[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.archive(io.Discard); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("an archive that was replaced: got %v", err)
	}
}

// holes is an archive with a file of 8 EiB - 1 that has no content.
func holes(tb testing.TB) []byte {
	tb.Helper()
	const size = "9223372036854775807"
	record := func(key, value string) string {
		for n := len(key) + len(value) + 3; ; n++ {
			if s := fmt.Sprintf("%d %s=%s\n", n, key, value); len(s) == n {
				return s
			}
		}
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "blobs/big") + record("GNU.sparse.realsize", size)
	sparse := fmt.Sprintf("1\n%s\n0\n", size)
	data := archiveOf(tb, map[string]string{"PaxHeaders.0/big": pax, "big": sparse + strings.Repeat("\x00", 512-len(sparse))})
	// archive/tar writes no such files: the first entry becomes the header of the second.
	header := data[:512]
	header[156] = 'x'
	sum := 0
	copy(header[148:156], "        ")
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// packed compresses data.
func packed(tb testing.TB, data []byte, writer func(io.Writer) (io.WriteCloser, error)) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := writer(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// limited is a buffer that refuses what is too long.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, io.ErrShortWrite
	}
	return l.Buffer.Write(p)
}
