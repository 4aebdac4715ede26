package release

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

const pinnedManifest = `apiVersion: pai.dev/v1
kind: Release
metadata: {name: v0.1}
services: {version: v0.1, upgradableSince: v0.1}
kubernetes: {version: v0.1-pai, upstream: v1.35.0, compatibleSince: v0.1-pai, upgradableSince: v0.1-pai}
configuration: {schema: 2}
programs:
  - {name: pair, version: v1.2.3, component: components/pair/v1.2.3}
  - {name: same, version: v1.0.0, component: components/same/v1.0.0}
images:
  - {name: tool, version: v0.1, component: cmd/tool, user: "7:8", entrypoint: /usr/bin/tool, shell: true}
  - {name: twin, version: v0.2, component: cmd/twin, user: "1:1"}
serviceList:
  - {name: web, version: v0.1}
`

// writePinned writes a bundle of inputs that never change: texts instead of
// compiled programs.
func writePinned(t *testing.T, cache, dir string) string {
	t.Helper()
	m, err := parseManifest([]byte(pinnedManifest))
	if err != nil {
		t.Fatal(err)
	}
	layer := func(name string, dirs map[string]int64, files ...layerFile) cachedLayer {
		for i, f := range files {
			if f.Link == "" {
				files[i].Source, files[i].Mode = filepath.Join(cache, "content", f.Name), 0o755
				replaceFile(t, files[i].Source, "content of "+f.Name+"\n")
			}
		}
		c := cachedLayer{cachedFile: cachedFile{file: filepath.Join(cache, name+".tar")}}
		f, err := os.Create(c.file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d := newDigester(f)
		if err := writeLayer(d, files, dirs); err != nil {
			t.Fatal(err)
		}
		c.Digest, c.Size = d.digest(), d.size
		return c
	}
	tmp := map[string]int64{"tmp": 0o1777}
	parts := []part{{kind: KindProgram, name: "pair", version: "v1.2.3"}, {kind: KindProgram, name: "same", version: "v1.0.0"},
		{kind: KindImage, image: m.Images[0]}, {kind: KindImage, image: m.Images[1]}}
	layers := []cachedLayer{
		layer("pair", nil, layerFile{Name: "cni/right"}, layerFile{Name: "bin/left"}),
		layer("same", nil, layerFile{Name: "bin/same"}),
		layer("tool", tmp, layerFile{Name: "usr/bin/tool"}, layerFile{Name: "bin/busybox"}, layerFile{Name: "bin/sh", Link: "busybox"}),
		layer("twin", tmp, layerFile{Name: "twin"}),
	}
	services, err := zipFiles(map[string][]byte{"web/service.yaml": []byte("name: web\n"), "web/chart/Chart.yaml": []byte("name: web\n")})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := writeBundle(dir, content{manifest: []byte(pinnedManifest), services: services}, parts, layers)
	if err != nil {
		t.Fatal(err)
	}
	if err := sign(dir, digest, fixtureKey('k')); err != nil {
		t.Fatal(err)
	}
	return digest
}

// testdata/bundle-c82e023 is what commit c82e023 wrote from these inputs, and
// signed with fixtureKey('k'). Machines hold images by digest, so another
// digest from the same inputs would replace all of them.
func TestSameInputsGiveTheDigestOfC82e023(t *testing.T) {
	t.Parallel()
	old := openFixture(t, "testdata/bundle-c82e023")
	if err := old.Verify(context.Background()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	if got := writePinned(t, t.TempDir(), dir); got != old.Digest() {
		t.Errorf("the bundle has digest %s, want %s; contents %v, want %v", got, old.Digest(), openFixture(t, dir).Contents(), old.Contents())
	}
}

// One change to a file of a bundle, in every file and at every place that an
// attacker or a broken disk can choose: Open or Verify refuses the bundle.
func TestEveryChangeToABundleIsRefused(t *testing.T) {
	t.Parallel()
	const source = "testdata/bundle-c82e023"
	var files []string
	err := filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != layoutFile { // oci-layout says nothing about the content
			files = append(files, p[len(source):])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			rt.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, "bundle"), os.DirFS(source)); err != nil {
			rt.Fatal(err)
		}
		dir = filepath.Join(dir, "bundle")
		name := rapid.SampledFrom(files).Draw(rt, "file")
		file := filepath.Join(dir, name)
		data, err := os.ReadFile(file)
		if err != nil {
			rt.Fatal(err)
		}
		if name == "/"+signatureFile { // its spaces and other keys' signatures mean nothing
			at := bytes.Index(data, []byte(`"signature": "`)) + len(`"signature": "`)
			data[at+rapid.IntRange(0, 80).Draw(rt, "at")] = '!'
		} else {
			switch change := rapid.SampledFrom([]string{"flip", "cut", "grow", "remove", "link"}).Draw(rt, "change"); change {
			case "flip":
				data[rapid.IntRange(0, len(data)-1).Draw(rt, "at")] ^= byte(rapid.IntRange(1, 255).Draw(rt, "bits"))
			case "cut":
				data = data[:rapid.IntRange(0, len(data)-1).Draw(rt, "length")]
			case "grow":
				data = append(data, 0)
			case "remove", "link":
				if err := os.Remove(file); err != nil {
					rt.Fatal(err)
				}
				if change == "remove" || name == "/"+indexFile {
					data = nil
					break
				}
				// The same content, but outside the bundle, where it can change later.
				outside := filepath.Join(filepath.Dir(dir), "outside")
				if err := errors.Join(os.WriteFile(outside, data, 0o644), os.Symlink(outside, file)); err != nil {
					rt.Fatal(err)
				}
				data = nil
			}
		}
		if data != nil {
			if err := os.WriteFile(file, data, 0o644); err != nil {
				rt.Fatal(err)
			}
		}
		b, err := Open(dir, public(fixtureKey('k')))
		if err == nil {
			err = b.Verify(context.Background())
		}
		if err == nil {
			rt.Fatalf("a change of %s was accepted", name)
		}
	})
}

func TestWriteProgramVerifiesItsLayer(t *testing.T) {
	t.Parallel()
	b := openFixture(t, "testdata/bundle-c82e023")
	var out bytes.Buffer
	if err := b.WriteProgram(context.Background(), &out, "bin/same"); err != nil || out.String() != "content of bin/same\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if err := b.WriteProgram(context.Background(), io.Discard, "bin/none"); err == nil {
		t.Error("an unknown program was written")
	}
	dir := filepath.Join(t.TempDir(), "bundle")
	if err := os.CopyFS(dir, os.DirFS("testdata/bundle-c82e023")); err != nil {
		t.Fatal(err)
	}
	b = openFixture(t, dir)
	flip(t, layerOf(t, b, KindProgram, "same"), -1) // after the program
	if err := b.WriteProgram(context.Background(), io.Discard, "bin/same"); err == nil {
		t.Error("a program of a damaged layer was written without an error")
	}
	if digests, err := b.ProgramDigests(context.Background()); err == nil {
		t.Errorf("a damaged layer has the digests %v", digests)
	}
}
