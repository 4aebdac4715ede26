package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func index(annotations string) string {
	return `{"schemaVersion":2,"manifests":[{"digest":"sha256:aa","size":2` + annotations + `}]}`
}

// archiveOf is a tar file with the files given.
func archiveOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func put(t *testing.T, name string, data []byte) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestImageNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		annotations, given, want string
	}{
		{`,"annotations":{"io.containerd.image.name":"docker.io/library/train:v3","org.opencontainers.image.ref.name":"v3"}`, "", "docker.io/library/train:v3"},
		{`,"annotations":{"org.opencontainers.image.ref.name":"team/train:v3"}`, "", "docker.io/team/train:v3"},
		{`,"annotations":{"org.opencontainers.image.ref.name":"r.example.org:5000/train"}`, "", "r.example.org:5000/train:latest"},
		{`,"annotations":{"org.opencontainers.image.ref.name":"v3"}`, "", ""},
		{``, "", ""},
		{``, "train", "docker.io/library/train:latest"},
		{`,"annotations":{"org.opencontainers.image.ref.name":"v3"}`, "r.local/train:v3", "r.local/train:v3"},
		{``, "Not A Name", ""},
		{``, "\x86etm:/o:v1", ""}, // found by FuzzOpenImageFile
		{``, "tëam:5000/train:v1", ""},
		{`,"annotations":{"org.opencontainers.image.ref.name":"tëam:5000/train:v1"}`, "", ""},
		{``, "[::1]:5000/train:v1", "[::1]:5000/train:v1"},
	} {
		file := put(t, "image.tar", archiveOf(t, map[string]string{"index.json": index(c.annotations)}))
		f, err := openImageFile(file, c.given)
		switch {
		case c.want == "" && pai.CodeOf(err) != pai.CodeUsage:
			t.Errorf("%s as %q: %v", c.annotations, c.given, err)
		case c.want != "" && (err != nil || !slices.Equal(f.names, []string{c.want})):
			t.Errorf("%s as %q: %+v, %v; want %s", c.annotations, c.given, f, err, c.want)
		}
	}
}

// An archive, a compressed one and a directory come out as the same archive.
func TestImageArchives(t *testing.T) {
	t.Parallel()
	files := map[string]string{"./oci-layout": `{}`, "./index.json": index(""), "./blobs/sha256/aa": "{}", "./manifest.json": "[]"}
	plain := archiveOf(t, files)
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, source := range []string{put(t, "image.tar", plain), put(t, "image.tgz", compressed.Bytes()), dir} {
		f, err := openImageFile(source, "train:v1")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := f.archive(&out); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		r := tar.NewReader(&out)
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				got[h.Name] = string(data)
			}
		}
		if !strings.Contains(got["index.json"], `"io.containerd.image.name":"docker.io/library/train:v1"`) {
			t.Errorf("%s: index is %s", source, got["index.json"])
		}
		delete(got, "index.json")
		if want := map[string]string{"oci-layout": "{}", "blobs/sha256/aa": "{}"}; !maps.Equal(got, want) {
			t.Errorf("%s: got %v", source, got)
		}
	}
}

func TestDockerArchive(t *testing.T) {
	t.Parallel()
	files := map[string]string{"manifest.json": `[{"Config":"c.json","RepoTags":["train:v3"],"Layers":["l.tar"]}]`, "c.json": "{}", "l.tar": "x"}
	file := put(t, "image.tar", archiveOf(t, files))
	f, err := openImageFile(file, "")
	if err != nil || !slices.Equal(f.names, []string{"docker.io/library/train:v3"}) {
		t.Fatalf("%+v, %v", f, err)
	}
	files["manifest.json"] = `[{"Config":"c.json","RepoTags":["docker.io/library/train:v3"],"Layers":["l.tar"]}]`
	var out bytes.Buffer
	if err := f.archive(&out); err != nil || !bytes.Equal(out.Bytes(), archiveOf(t, files)) {
		t.Errorf("more than its names changed, or %v", err)
	}
}

// "docker save ID" writes no name. A name that is given replaces all others.
func TestDockerArchiveGetsAName(t *testing.T) {
	t.Parallel()
	image := func(tags string) string { return `{"Config":"c.json","RepoTags":` + tags + `,"Layers":["l.tar"]}` }
	files := map[string]string{"c.json": "{}", "l.tar": "x"}
	for _, c := range []struct {
		list, given, want, wrong string
	}{
		{"[" + image("null") + "]", "team/train:v3", "docker.io/team/train:v3", ""},
		{"[" + image(`["train:v3","train:v4"]`) + "]", "other", "docker.io/library/other:latest", ""},
		{"[" + image("null") + "]", "", "", "has a name"},
		{"[" + image("null") + "," + image("null") + "]", "other", "", "contains 2 images"},
		{"[]", "other", "", "contains 0 images"},
		{"[" + image("null") + "]", "Not A Name", "", "the image in"},
		{"[" + image("null") + "]", "pai.local/pause:v2", "", "only releases bring images"},
	} {
		files[dockerFile] = c.list
		f, err := openImageFile(put(t, "image.tar", archiveOf(t, files)), c.given)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s as %q: got %v, want %q", c.list, c.given, err, c.wrong)
			}
			continue
		}
		if err != nil || !slices.Equal(f.names, []string{c.want}) {
			t.Errorf("%s as %q: got %+v, %v", c.list, c.given, f, err)
			continue
		}
		var out bytes.Buffer
		files[dockerFile] = "[" + image(`["`+c.want+`"]`) + "]"
		if err := f.archive(&out); err != nil || !bytes.Equal(out.Bytes(), archiveOf(t, files)) {
			t.Errorf("%s as %q: more than its names changed, or %v", c.list, c.given, err)
		}
	}
}

func TestNotAnImage(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"nothing there": filepath.Join(t.TempDir(), "none"),
		"no archive":    put(t, "x", []byte("hello")),
		"other archive": put(t, "y", archiveOf(t, map[string]string{"a": "b"})),
		"path outside":  put(t, "w", archiveOf(t, map[string]string{"index.json": index(""), "blobs/../../../etc/passwd": "x"})),
		"empty index":   put(t, "z", archiveOf(t, map[string]string{"index.json": `{"manifests":[]}`})),
	} {
		if f, err := openImageFile(source, "train:v1"); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestImageList(t *testing.T) {
	t.Parallel()
	got := parseImageList(`REF TYPE DIGEST SIZE PLATFORMS LABELS
pai.local/example:v1 application/vnd.oci.image.manifest.v1+json sha256:aa 3.0 MiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
docker.io/library/x:1 application/vnd.oci.image.manifest.v1+json sha256:bb 3.0 MiB linux/amd64 io.cri-containerd.image=managed
sha256:cc application/vnd.oci.image.manifest.v1+json sha256:cc 3.0 MiB linux/amd64 -
`)
	if len(got) != 2 || got[0].Name != "pai.local/example:v1" || !got[0].Pinned || got[1].Digest != "sha256:bb" || got[1].Pinned {
		t.Errorf("%+v", got)
	}
}
