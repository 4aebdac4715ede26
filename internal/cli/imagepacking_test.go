package cli

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"pai.dev/pai/internal/pai"
)

func TestImagePackings(t *testing.T) {
	t.Parallel()
	plain := archiveOf(t, map[string]string{"index.json": index("")})
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string // part of the error
		data       []byte
	}{
		{"zstd", "", packed.Bytes()},
		{"xz", "packed with xz", []byte("\xfd7zXZ\x00rest")},
		{"lz4", "packed with lz4", []byte("\x04\x22\x4d\x18rest")},
		{"zip", "packed with zip", []byte("PK\x03\x04rest")},
		{"bzip2", "", bzipped(t)},
		{"lzip", "packed with lzip", []byte("LZIP\x01rest")},
		{"7z", "packed with 7z", []byte("7z\xbc\xaf\x27\x1crest")},
		{"lzma", "packed with lzma", []byte("\x5d\x00\x00\x80\x00\xff\xff")},
		{"compress", "packed with compress (.Z)", []byte("\x1f\x9d\x90rest")},
		{"lzop", "packed with lzop", []byte("\x89LZO\x00\r\n\x1a\nrest")},
		{"rar", "packed with rar", []byte("Rar!\x1a\x07\x01\x00")},
		{"something else", "is no tar archive; paictl reads one as it is, or packed with gzip, zstd, or bzip2", bytes.Repeat([]byte("no image "), 200)},
		{"a bzip2 that is cut off", "read", bzipped(t)[:100]},
		{"cut off", "read", packed.Bytes()[:packed.Len()/2]},
	} {
		f, err := openImageFile(put(t, "image", c.data), "train:v1")
		switch {
		case c.want == "" && (err != nil || !slices.Equal(f.names, []string{"docker.io/library/train:v1"})):
			t.Errorf("%s: got %+v, %v", c.name, f, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// bzipped is an archive with an index, packed in two parts, as programs that use several
// processors do. Go cannot pack with bzip2.
func bzipped(t *testing.T) []byte {
	t.Helper()
	var all []byte
	for _, part := range []string{
		"QlpoOTFBWSZTWVC2o6IAADjbgMyAUAV/kAEKb/Oe2ggAIAB1EU0yZNqAGmmmgBkNA1NIZA0aAAAaGRtE4ngBRytImjSkAgCvZJmx1JXnsrbYoGUQMMTmCygsayXqbQlrTjUAIOI4lLy+QjFsGCFOc54JeJoGDrdTRFSg54FoDCa+4oTOuejb99wj8XckU4UJBQtqOiA=",
		"QlpoOTFBWSZTWVINeEUAAALEAMAAAgAACCAAMMwImklAPF3JFOFCQUg14RQ=",
	} {
		data, err := base64.StdEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}

// A file cannot bring an image of PAI, in whichever form it names it.
func TestOwnImagesAreRefused(t *testing.T) {
	t.Parallel()
	const other = `{"digest":"sha256:bb","annotations":{"io.containerd.image.name":"docker.io/team/train:v3"}}`
	for _, c := range []struct{ name, index, docker, given string }{
		{name: "full name", index: `{"manifests":[` + other + `,{"annotations":{"io.containerd.image.name":"pai.local/rest-server:v0.11"}}]}`},
		{name: "reference", index: `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"pai.local/kueue:v0.19.2"}}]}`},
		{name: "digest", index: `{"manifests":[{"annotations":{"io.containerd.image.name":"pai.local/pause@sha256:` + strings.Repeat("0", 64) + `"}}]}`},
		{name: "given", index: index(""), given: "pai.local/pause:v2"},
		{name: "Docker archive", docker: `[{"RepoTags":["team/train:v3","pai.local/pause:v2"]}]`},
	} {
		files := map[string]string{"manifest.json": c.docker, "index.json": c.index}
		for name, content := range files {
			if content == "" {
				delete(files, name)
			}
		}
		if f, err := openImageFile(put(t, "image.tar", archiveOf(t, files)), c.given); pai.CodeOf(err) != pai.CodeRefused {
			t.Errorf("%s: got %+v, %v, want a refusal", c.name, f, err)
		}
	}
}

// The container runtime must not read another list of images than the one that was
// checked.
func TestImageListsOfArchive(t *testing.T) {
	t.Parallel()
	entries := func(headers ...*tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			h.Mode = 0o644
			content := ""
			if h.Typeflag == tar.TypeReg {
				content = `[{"RepoTags":["train:v3"]}]`
				h.Size = int64(len(content))
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	list := func() *tar.Header { return &tar.Header{Name: dockerFile, Typeflag: tar.TypeReg} }
	link := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	for _, c := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"layers that are links", entries(list(), link("b/layer.tar", "../a/layer.tar")), true},
		{"two lists", entries(list(), list()), false},
		{"two lists by other names", entries(list(), &tar.Header{Name: "x/../" + dockerFile, Typeflag: tar.TypeReg}), false},
		{"a list that is a link", entries(list(), link(indexFile, "other.json")), false},
		{"a link out of the archive", entries(list(), link("a/layer.tar", "../../etc/shadow")), false},
		{"a link to the root", entries(list(), link("a/layer.tar", "/etc/shadow")), false},
	} {
		f, err := openImageFile(put(t, "image.tar", c.data), "")
		if (err == nil) != c.ok {
			t.Errorf("%s: got %+v, %v, want it read: %v", c.name, f, err, c.ok)
			continue
		}
		if err == nil {
			var out bytes.Buffer
			if err := f.archive(&out); err != nil || !bytes.Contains(out.Bytes(), []byte("../a/layer.tar")) {
				t.Errorf("%s: the link is lost, %v", c.name, err)
			}
		}
	}
}
