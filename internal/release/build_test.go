package release

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"

	"pai.dev/pai/internal/atomicfile"
)

func writeLine(log *strings.Builder, format string, args ...any) {
	fmt.Fprintf(log, format+"\n", args...)
}

func TestSameInputsGiveTheSameDigest(t *testing.T) {
	t.Parallel()
	first, _ := fixtureBuild(t, sourceFixture(t), t.TempDir())
	second, _ := fixtureBuild(t, sourceFixture(t), t.TempDir())
	a, b := openFixture(t, first), openFixture(t, second)
	if a.Digest() != b.Digest() {
		t.Errorf("two builds of the same tree in different directories: %s and %s\n%v\n%v", a.Digest(), b.Digest(), a.Contents(), b.Contents())
	}
	if err := a.Verify(context.Background()); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func TestBuildCompilesOnlyChanges(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	dir, said := fixtureBuild(t, source, cache)
	if !strings.Contains(said, "3 to compile") {
		t.Errorf("the first build printed:\n%s", said)
	}
	before := openFixture(t, dir).Digest()
	if _, said = fixtureBuild(t, source, cache); said != "" {
		t.Errorf("a build without changes printed:\n%s", said)
	}

	// A test file is no input, nor is a new requirement that no program uses; a
	// package that a program imports is one.
	replaceFile(t, filepath.Join(source, "go.mod"), "module example.test/tree\n\ngo 1.26\n\nreplace example.test/none => ./none\n")
	replaceFile(t, filepath.Join(source, "internal/word/word_test.go"), "package word // changed")
	if _, said = fixtureBuild(t, source, cache); said != "" {
		t.Errorf("after a change of a test the build printed:\n%s", said)
	}
	replaceFile(t, filepath.Join(source, "internal/word/word.go"), "package word\n\nconst Hello = \"bye\"\n")
	dir, said = fixtureBuild(t, source, cache)
	if !strings.Contains(said, "2 to compile") || strings.Contains(said, "pair") {
		t.Errorf("after a change that touches two of three components the build printed:\n%s", said)
	}
	if after := openFixture(t, dir).Digest(); after == before {
		t.Error("the digest has not changed although a program has")
	}
}

// Two operators can share a cache.
func TestBuildAddsTheSignatureOfAnotherKey(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	dir, _ := fixtureBuild(t, source, cache)
	before := openFixture(t, dir)
	o := fixtureOptions(source, cache, &strings.Builder{})
	o.Key = fixtureKey('x')
	for range 2 {
		if _, err := Build(context.Background(), o); err != nil {
			t.Fatal(err)
		}
	}
	theirs, err := Open(dir, public(fixtureKey('x')))
	if err != nil {
		t.Fatal(err)
	}
	mine := openFixture(t, dir)
	if mine.Digest() != before.Digest() || theirs.Digest() != before.Digest() || mine.Signer() == theirs.Signer() {
		t.Errorf("digests %s, %s, %s; signers %s, %s", before.Digest(), mine.Digest(), theirs.Digest(), mine.Signer(), theirs.Signer())
	}
	if s, err := readSignatures(dir); err != nil || len(s.Signatures) != 2 {
		t.Errorf("signatures: %+v, %v", s, err)
	}
	// A damaged bundle is built again instead of signed.
	flip(t, layerOf(t, mine, KindImage, "tool"), 5000)
	o.Key = fixtureKey('y')
	if _, err := Build(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if b, err := Open(dir, public(o.Key)); err != nil || b.Verify(context.Background()) != nil {
		t.Errorf("a damaged bundle was signed by another key: %v", err)
	}
}

func TestBuildRepairsTheCache(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	dir, _ := fixtureBuild(t, source, cache)
	want := openFixture(t, dir).Digest()
	layers, err := filepath.Glob(filepath.Join(cache, "programs", "*", "layer.tar"))
	if err != nil || len(layers) != 3 {
		t.Fatalf("layers in the cache: %v, %v", layers, err)
	}
	for _, l := range layers { // the blobs of the bundle are hard links to them
		flip(t, l, -2000)
	}
	dir, _ = fixtureBuild(t, source, cache)
	b := openFixture(t, dir)
	if err := b.Verify(context.Background()); err != nil || b.Digest() != want {
		t.Errorf("built again with a damaged cache: digest %s, want %s; verify: %v", b.Digest(), want, err)
	}
}

func TestInterruptedBuildLeavesNoBundle(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	o := fixtureOptions(source, cache, &strings.Builder{})
	o.Progress = func(format string, args ...any) {
		if strings.Contains(fmt.Sprintf(format, args...), "compiling") {
			cancel() // in the middle of the first component
		}
	}
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted build: %v", err)
	}
	if _, err := os.Stat(BundleDir(cache, "v0.1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an interrupted build left a bundle: %v", err)
	}
	// The leftovers of a killed build do not stop the next build.
	replaceFile(t, filepath.Join(cache, "bundles", ".v0.1.new", "index.json"), "{")
	dir, _ := fixtureBuild(t, source, cache)
	if err := openFixture(t, dir).Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestBuildersWaitForEachOther(t *testing.T) {
	t.Parallel()
	source, cache := sourceFixture(t), t.TempDir()
	var wait sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wait.Go(func() {
			_, errs[i] = Build(context.Background(), fixtureOptions(source, cache, &strings.Builder{}))
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if err := openFixture(t, BundleDir(cache, "v0.1")).Verify(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestBuildRefusesContradictingPins(t *testing.T) {
	t.Parallel()
	source := sourceFixture(t)
	file := filepath.Join(source, "releases/v0.1/release.yaml")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(data), "name: pair, version: v1.2.3", "name: pair, version: v1.2.4", 1)
	changed = strings.Replace(changed, "component: cmd/tool, user", "component: components/pair/v1.2.3, user", 1)
	replaceFile(t, file, changed)
	_, err = Build(context.Background(), fixtureOptions(source, t.TempDir(), &strings.Builder{}))
	for _, want := range []string{"the release pins example.test/charted v1.2.4", "has v1.2.3", "an image has one program"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestProgramsInTheBundle(t *testing.T) {
	t.Parallel()
	dir := fixtureBundle(t)
	var out bytes.Buffer
	if err := openFixture(t, dir).WritePrograms(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	names := untar(t, &out, root)
	if want := []string{"bin/", "cni/", "bin/left", "cni/right"}; !slices.Equal(names, want) {
		t.Errorf("programs are %v, want %v", names, want)
	}
	digests, err := openFixture(t, dir).ProgramDigests(context.Background())
	if err != nil || len(digests) != 2 {
		t.Errorf("the digests are %v, %v; want two", digests, err)
	}
	for name, digest := range digests {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || digest != fmt.Sprintf("%x", sha256.Sum256(content)) {
			t.Errorf("%s has the digest %s, which is not that of its content: %v", name, digest, err)
		}
	}
	said, err := exec.Command(filepath.Join(root, "bin/left")).CombinedOutput()
	if err != nil || string(said) != "left v1.2.3 2\n" {
		t.Errorf("bin/left says %q, %v", said, err)
	}
}

func TestImagesInTheBundle(t *testing.T) {
	t.Parallel()
	dir := fixtureBundle(t)
	b := openFixture(t, dir)
	if got := b.Image("tool"); got != "pai.local/tool:v0.1" || b.Image("none") != "" {
		t.Errorf("Image: %q, %q", got, b.Image("none"))
	}
	if err := b.WriteImages(context.Background(), io.Discard, "none"); err == nil {
		t.Error("an unknown image was written")
	}
	var out bytes.Buffer
	if err := b.WriteImages(context.Background(), &out, "tool"); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	untar(t, &out, root)
	var index v1.IndexManifest
	readJSON(t, filepath.Join(root, "index.json"), &index)
	if len(index.Manifests) != 1 || index.Manifests[0].Annotations["io.containerd.image.name"] != "pai.local/tool:v0.1" {
		t.Fatalf("index is %+v", index)
	}
	var m v1.Manifest
	readJSON(t, blobPath(root, index.Manifests[0].Digest), &m)
	var config v1.ConfigFile
	readJSON(t, blobPath(root, m.Config.Digest), &config)
	if config.Config.User != "7:8" || !slices.Equal(config.Config.Entrypoint, []string{"/usr/bin/tool"}) {
		t.Errorf("config is %+v", config)
	}
	blob, err := os.Open(blobPath(root, m.Layers[0].Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	unpacked, err := zstd.NewReader(blob)
	if err != nil {
		t.Fatal(err)
	}
	defer unpacked.Close()
	layer := newDigester(io.Discard)
	files := t.TempDir()
	if names, want := untar(t, io.TeeReader(unpacked, layer), files), []string{"tmp/", "usr/", "usr/bin/", "usr/bin/tool"}; !slices.Equal(names, want) {
		t.Errorf("the layer has %v, want %v", names, want)
	}
	if _, err := io.Copy(layer, unpacked); err != nil || config.RootFS.DiffIDs[0].String() != layer.digest() {
		t.Errorf("the config says that the layer is %s, it is %s (%v)", config.RootFS.DiffIDs[0], layer.digest(), err)
	}
	said, err := exec.Command(filepath.Join(files, "usr/bin/tool")).Output()
	if err != nil || string(said) != "hello v0.1\n" {
		t.Errorf("the program says %q, %v", said, err)
	}
}

func TestServicesInTheBundle(t *testing.T) {
	t.Parallel()
	dir := fixtureBundle(t)
	services := openFixture(t, dir).Services()
	for file, want := range map[string]string{
		"web/service.yaml":             "name: web\n",
		"web/chart/Chart.yaml":         "name: web\n",
		"web/chart/templates/one.yaml": "kind: Service\n",
		"plain/service.yaml":           "name: plain\nonly: v0.1\n", // what the release has instead
		"plain/chart/Chart.yaml":       "name: plain\n",
	} {
		if got, err := fs.ReadFile(services, file); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", file, got, err, want)
		}
	}
}

// untar unpacks a tar into root and returns the names in it.
func untar(t *testing.T, r io.Reader, root string) []string {
	t.Helper()
	var names []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s depends on the time or the user of the build: %+v", h.Name, h)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		write := func() error { replaceFile(t, filepath.Join(root, h.Name), string(data)); return nil }
		if err := atomicfile.WithoutForks(write); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(root, h.Name), fs.FileMode(h.Mode)); err != nil {
			t.Fatal(err)
		}
	}
}

func readJSON(t *testing.T, file string, v any) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
