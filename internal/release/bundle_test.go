package release

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"pai.dev/pai/internal/pai"
)

// flip changes one byte of a file; from the end where at is negative.
func flip(t *testing.T, file string, at int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 1
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// layerOf is the blob of a program set or of an image's layer.
func layerOf(t *testing.T, b *Bundle, kind EntryKind, name string) string {
	t.Helper()
	for _, e := range b.Contents() {
		if e.Kind != kind || e.Name != name {
			continue
		}
		hash, err := v1.NewHash(e.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if kind == KindImage {
			var m v1.Manifest
			readJSON(t, blobPath(b.dir, hash), &m)
			hash = m.Layers[0].Digest
		}
		return blobPath(b.dir, hash)
	}
	t.Fatalf("no %s %s", kind, name)
	return ""
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	signed := func(t *testing.T, dir string, change func(*signatures)) {
		file := filepath.Join(dir, signatureFile)
		var s signatures
		readJSON(t, file, &s)
		change(&s)
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		replaceFile(t, file, string(data))
	}
	for _, test := range []struct {
		name   string
		tamper func(t *testing.T, dir string)
		want   string
	}{
		{"a byte of the index", func(t *testing.T, dir string) { flip(t, filepath.Join(dir, indexFile), 100) }, "but sha256:"},
		{"no signature", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, signatureFile)) }, "not signed: signature.json not found"},
		{"another signature", func(t *testing.T, dir string) {
			signed(t, dir, func(s *signatures) { s.Signatures[0].Signature[3] ^= 1 })
		}, "wrong signature of key"},
		{"another index, signed digest adapted", func(t *testing.T, dir string) {
			flip(t, filepath.Join(dir, indexFile), 100)
			data, err := os.ReadFile(filepath.Join(dir, indexFile))
			if err != nil {
				t.Fatal(err)
			}
			signed(t, dir, func(s *signatures) { s.Index = digestOf(data) })
		}, "wrong signature of key"},
		{"another signer", func(t *testing.T, dir string) {
			digest := openFixture(t, dir).Digest()
			os.Remove(filepath.Join(dir, signatureFile))
			if err := sign(dir, digest, fixtureKey('x')); err != nil {
				t.Fatal(err)
			}
		}, "signed by the untrusted key"},
		{"a trusted key's name on another's signature", func(t *testing.T, dir string) {
			digest := openFixture(t, dir).Digest()
			os.Remove(filepath.Join(dir, signatureFile))
			if err := sign(dir, digest, fixtureKey('x')); err != nil {
				t.Fatal(err)
			}
			signed(t, dir, func(s *signatures) { s.Signatures[0].PublicKey = EncodePublicKey(public(fixtureKey('k'))[0]) })
		}, "wrong signature of key"},
		{"a byte of the services", func(t *testing.T, dir string) {
			flip(t, layerOf(t, openFixture(t, dir), KindServices, "services"), 50)
		}, "has other content"},
		{"the release's manifest cut off", func(t *testing.T, dir string) {
			if err := os.Truncate(layerOf(t, openFixture(t, dir), KindRelease, "v0.1"), 10); err != nil {
				t.Fatal(err)
			}
		}, "does not have the expected size"},
		{"a missing manifest", func(t *testing.T, dir string) {
			var index v1.IndexManifest
			readJSON(t, filepath.Join(dir, indexFile), &index)
			os.Remove(blobPath(dir, index.Manifests[1].Digest))
		}, "manifest of programs: blob sha256:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := fixtureBundle(t)
			openFixture(t, dir) // is good before
			test.tamper(t, dir)
			b, err := Open(dir, public(fixtureKey('k')))
			if err == nil || b != nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Open gave %v and error %v, want one with %q", b, err, test.want)
			}
			if pai.CodeOf(err) != pai.CodeRefused {
				t.Errorf("the error's code is %s", pai.CodeOf(err))
			}
		})
	}
}

func TestVerifyNamesEveryWrongBlob(t *testing.T) {
	t.Parallel()
	dir := fixtureBundle(t)
	b := openFixture(t, dir)
	pair, tool := layerOf(t, b, KindProgram, "pair"), layerOf(t, b, KindImage, "tool")
	flip(t, pair, 5000)
	if err := os.Remove(tool); err != nil {
		t.Fatal(err)
	}
	b = openFixture(t, dir) // the large parts are not read yet
	err := b.Verify(context.Background())
	for _, want := range []string{
		"program pair: blob sha256:" + filepath.Base(pair) + " has other content",
		"pai.local/tool:v0.1: blob sha256:" + filepath.Base(tool) + " is missing",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Verify lacks %q: %v", want, err)
		}
	}
	if err := b.WritePrograms(context.Background(), io.Discard); err == nil {
		t.Error("programs with a changed byte were written without an error")
	}
	if err := b.WriteImages(context.Background(), io.Discard, "tool"); err == nil {
		t.Error("an image without its layer was written without an error")
	}
	if err := b.WriteImages(context.Background(), io.Discard, "other"); err != nil {
		t.Errorf("an image that is whole: %v", err)
	}
}

// A changed byte after the last entry of a layer, in a header, or in a
// program: none of them is written without an error.
func TestWriteProgramsVerifiesEveryByte(t *testing.T) {
	t.Parallel()
	b := openFixture(t, fixtureBundle(t))
	layer := layerOf(t, b, KindProgram, "pair")
	for _, at := range []int{-1, -700, 0, 100, 520, 3000} {
		flip(t, layer, at)
		if err := b.WritePrograms(context.Background(), io.Discard); err == nil {
			t.Errorf("byte %d changed, no error", at)
		}
		if err := b.WritePackedPrograms(context.Background(), io.Discard); err == nil {
			t.Errorf("byte %d changed, no error where it is passed on as it is", at)
		}
		flip(t, layer, at)
	}
	if err := b.WritePrograms(context.Background(), io.Discard); err != nil {
		t.Errorf("with every byte as it was: %v", err)
	}
}

func TestWritingStopsWithItsContext(t *testing.T) {
	t.Parallel()
	b := openFixture(t, fixtureBundle(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for name, err := range map[string]error{
		"WritePrograms":       b.WritePrograms(ctx, io.Discard),
		"WritePackedPrograms": b.WritePackedPrograms(ctx, io.Discard),
		"WriteImages":         b.WriteImages(ctx, io.Discard),
		"Verify":              b.Verify(ctx),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "keys", "bundle.key")
	first, err := EnsureKey(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := EnsureKey(file)
	if err != nil || !first.Equal(second) {
		t.Errorf("the key changed, or %v", err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
	data, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	public, err := DecodePublicKey(string(data))
	if err != nil || !public.Equal(first.Public()) {
		t.Errorf("the public half beside it is %q, %v", data, err)
	}
	replaceFile(t, file, "not a key")
	if _, err := EnsureKey(file); err == nil {
		t.Error("a broken key was replaced silently, or taken")
	}
	if _, err := DecodePublicKey("AAAA"); err == nil {
		t.Error("a key of three bytes was taken")
	}
}
